"""Scores of directions on the way, kept in the folder of a ranking, so that it can go on where it stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from explorer.directions.score import Score
from segmentation.configuration import check_range
from segmentation.errors import LanternError
from segmentation.files import read_json, write_json
from segmentation.runfolder import claim

_NAME = "scores.json"
Pair = dict[int, Score]
"""The scores of both signs of a direction (keys 1 and -1)."""


class KeptScores:
    """Scores in the file ``scores.json`` in ``folder``, in the order in which they are measured.

    ``every``: how many are measured between two times that they are written.
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        check_range("checkpoint_every", every, 1, 1_000_000)
        self.folder, self.every = folder, every
        self._scores: list[Pair] = []

    def restore(self, described: dict[str, Any]) -> int:
        """Read what is there; returns how many. Errors: :class:`LanternError` if they are not of the ranking ``described``."""
        claim(self.folder, described)
        path = self.folder / _NAME
        if path.exists():
            told = read_json(path)
            try:
                self._scores = pairs_from(told)
            except (TypeError, ValueError, AttributeError) as error:
                raise LanternError(f"{path} holds no scores ({error})", f"Remove {path} to begin anew.") from error
        return len(self._scores)

    def get(self, number: int) -> Pair | None:
        """The scores measured as the ``number``-th, from 0 on, if they are there."""
        return self._scores[number] if number < len(self._scores) else None

    def add(self, pair: Pair, last: bool) -> None:
        """Keep the next scores; on the disk when it is time to, and those that are the ``last`` for now."""
        self._scores.append(pair)
        if last or len(self._scores) % self.every == 0:
            self.save()

    def save(self) -> None:
        """Write all that were measured."""
        write_json(self.folder / _NAME, [told_pair(pair) for pair in self._scores])


def told_pair(pair: Pair) -> dict[str, dict[str, Any]]:
    """``pair`` as plain JSON types."""
    return {str(sign): dataclasses.asdict(score) for sign, score in pair.items()}


def pairs_from(told: list[dict[str, dict[str, Any]]]) -> list[Pair]:
    """The pairs that :func:`told_pair` told of."""
    return [{int(sign): Score(**values) for sign, values in pair.items()} for pair in told]
