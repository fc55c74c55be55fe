"""The commands of ``python -m explorer``, one function each."""
