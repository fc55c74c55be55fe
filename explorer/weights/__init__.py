"""The published weights on a user's machine: what is known of them, where they lie, how they come there unharmed."""
