"""When a fit stops by itself: a loss is no number, the samples have collapsed, or the discriminator has won."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError

STAGES = ("autoencoder", "variational", "joint", "adversarial")
"""What the stages of a fit are called."""
JOINT, ADVERSARIAL = 2, 3
"""The numbers of the last two, from 0."""
_REMEMBERED = 50
_RATES = ("--learning-rate", "--learning-rate", "--joint-learning-rate", "--adversarial-learning-rate")
_AFRESH = "and start in a new folder. What was saved before stays."


@dataclasses.dataclass(frozen=True)
class LimitsConfig(Config):
    """When the last stage stops, because it will not mend. Photographs have diversity 1 and near-duplicates 0.01."""

    patience: int = 200
    """Steps of the stage before anything is judged, and over which the discriminator's loss is averaged."""
    diversity: float = 0.15
    """Least spread of the samples (standard deviation of a pixel over the batch), over that of the photographs."""
    near_duplicates: float = 0.9
    """Largest share of samples that are nearly the same as another one, at two checkpoints in a row."""
    discriminator: float = 0.05
    """Least loss of the discriminator, over that of guessing."""

    def __post_init__(self) -> None:
        check_range("patience", self.patience, 1, 100_000_000)
        for name in ("diversity", "near_duplicates", "discriminator"):
            check_range(name, getattr(self, name), 0, 1)


class Health:
    """What is remembered of the last stage to judge it by; ``guessing`` is the discriminator's loss when it guesses."""

    def __init__(self, config: LimitsConfig, guessing: float) -> None:
        self.config, self.guessing = config, guessing
        self._diversities: deque[float] = deque(maxlen=_REMEMBERED)
        self._losses: deque[float] = deque(maxlen=config.patience)
        self._duplicates = 0.0

    def to_json(self) -> dict[str, Any]:
        """What is remembered, as plain JSON types."""
        return {"diversities": [*self._diversities], "losses": [*self._losses], "near_duplicates": self._duplicates}

    def restore(self, remembered: Mapping[str, Any]) -> None:
        """Remember what :meth:`to_json` gave."""
        self._diversities.extend(remembered.get("diversities", []))
        self._losses.extend(remembered.get("losses", []))
        self._duplicates = float(remembered.get("near_duplicates", 0.0))

    def see(self, figures: dict[str, float]) -> None:
        """Remember a step of the last stage; its diversity becomes the mean of the last fifty steps."""
        self._diversities.append(figures["diversity"])
        self._losses.append(figures["discriminator"])
        figures["diversity"] = sum(self._diversities) / len(self._diversities)

    def check_step(self, step: int) -> None:
        """Raise :class:`LanternError` if the discriminator has won, ``step`` steps into the stage."""
        mean = sum(self._losses) / max(1, len(self._losses))
        if step < self.config.patience or mean >= self.config.discriminator * self.guessing:
            return
        raise LanternError(
            f"the discriminator has won: over the last {len(self._losses)} steps its loss was {mean:.3g} on average, and"
            f" guessing gives {self.guessing:g}; the generator learns nothing more from it",
            f"Lower --adversarial-learning-rate, or give more photographs, {_AFRESH}",
        )

    def check_samples(self, step: int, near_duplicates: float) -> None:
        """Raise :class:`LanternError` if the samples have collapsed; asked once a checkpoint, ``step`` steps into the stage."""
        before, self._duplicates = self._duplicates, near_duplicates
        if step < self.config.patience:
            return
        diversity, seen = sum(self._diversities) / max(1, len(self._diversities)), ""
        if diversity < self.config.diversity:
            seen = f"they vary {diversity:.2f} times as much as the photographs"
        elif min(before, near_duplicates) > self.config.near_duplicates:
            seen = f"{before:.0%} of them and then {near_duplicates:.0%} were nearly the same as another one"
        if seen:
            remedy = f"Raise --reconstruction-weight or lower --adversarial-learning-rate, {_AFRESH}"
            raise LanternError(f"the samples have collapsed: {seen}", remedy)


def check_finite(stage: int, step: int, figures: Mapping[str, float]) -> None:
    """Raise :class:`LanternError` if one of ``figures`` of a step is infinite or no number."""
    for name, value in figures.items():
        if not math.isfinite(value):
            where = f"at step {step} of the {STAGES[stage]} stage"
            raise LanternError(f"{name.replace('_', ' ')} is {value} {where}", f"Lower {_RATES[stage]}, {_AFRESH}")
