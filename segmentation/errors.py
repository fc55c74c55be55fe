"""The one error that a user sees: what is wrong, and what to do about it."""

from __future__ import annotations


class LanternError(Exception):
    """Something the user can put right.

    ``problem`` names the thing and what was expected of it; ``remedy`` says what to do. The command line prints both and
    exits with 2, the page shows both; neither shows a traceback.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem.rstrip('.')}. {remedy}")
        self.problem = problem
        self.remedy = remedy


def require(condition: bool, problem: str, remedy: str) -> None:
    """Raise :class:`LanternError` unless ``condition`` holds."""
    if not condition:
        raise LanternError(problem, remedy)
