"""Where walks start: codes drawn by a seed, or the code of a photograph and its neighbours."""

from __future__ import annotations

import dataclasses

from explorer.directions.strips import Codes, starting_codes
from explorer.engine import MAX_TRUNCATION, Engine
from explorer.sources import SourceConfig
from segmentation.configuration import Config, check_range


@dataclasses.dataclass(frozen=True)
class Start(Config):
    """The latent codes of a picture."""

    codes: int = 1
    """How many latent codes."""
    seed: int = 0
    """Seed of the latent codes."""
    truncation: float = MAX_TRUNCATION
    """Entries of the latent codes stay within plus or minus this; 4 and above: no truncation."""
    alpha: float = SourceConfig.alpha
    """With a photograph: the codes after the first are that of the photograph plus alpha times noise drawn by seed."""
    origin: tuple[float, ...] = ()
    """Latent code of a photograph; without one all codes are drawn by seed."""

    def __post_init__(self) -> None:
        check_range("codes", self.codes, 1, 4096)
        check_range("seed", self.seed, 0, 2**63 - 1)
        check_range("truncation", self.truncation, 0.01, float("inf"))
        check_range("alpha", self.alpha, 0, 10)

    def draw(self, engine: Engine, codes: int | None = None) -> Codes:
        """The latent codes (``codes``, d), by default as many as the configuration says."""
        return starting_codes(engine, codes or self.codes, self.seed, self.truncation, self.origin, self.alpha)


@dataclasses.dataclass(frozen=True)
class Given:
    """Latent codes (N, d) that somebody drew already, in the place of a :class:`Start`."""

    drawn: Codes
    """The latent codes."""

    @property
    def codes(self) -> int:
        """How many latent codes."""
        return len(self.drawn)

    def draw(self, engine: Engine) -> Codes:
        """The latent codes."""
        return self.drawn

    def first(self) -> Given:
        """The first of them alone."""
        return Given(self.drawn[:1])
