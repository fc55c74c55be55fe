"""Two catalogues of one generator side by side: which directions they share, and what they say differently of them."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from explorer.directions.catalogue import Catalogue, Entry
from explorer.directions.history import Change, changes
from segmentation.configuration import Config, check_range
from segmentation.errors import require


@dataclasses.dataclass(frozen=True)
class CompareConfig(Config):
    """When two directions count as one."""

    threshold: float = 0.95
    """Two directions are the same if the absolute value of their cosine is above this; at 1 none are."""

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1)


@dataclasses.dataclass(frozen=True)
class Match:
    """Direction ``first`` of one catalogue is direction ``second`` of another.

    ``changes`` are what is said differently of them: before in the first catalogue, after in the second. A sign counts as
    another only if the two are walked opposite ways.
    """

    first: int
    second: int
    cosine: float
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Cosines (K1, K2) between the directions of two catalogues, without their signs, and which of them are the same."""

    cosines: Tensor
    matches: tuple[Match, ...]
    """One to one, in the order of the first catalogue; the closest found each other first."""
    only_first: tuple[int, ...]
    """Directions of the first catalogue that match none of the second."""
    only_second: tuple[int, ...]

    def best(self, index: int) -> tuple[int, float]:
        """The direction of the second catalogue that is closest to direction ``index`` of the first, and their cosine."""
        other = int(self.cosines[index].abs().argmax())
        return other, float(self.cosines[index, other])


def check_one_generator(*catalogues: Catalogue) -> None:
    """Refuse catalogues of different generators, or of which it is not known that they are of one."""
    owners = list(dict.fromkeys(catalogue.fingerprint for catalogue in catalogues))
    adopt = "Give it to one first: python -m explorer import FOLDER --out FOLDER --generator NAME_OR_FILE"
    require("" not in owners, "one of the catalogues belongs to no generator yet", adopt)
    told = f"the catalogues are of different generators ({', '.join(owners)})"
    require(len(owners) == 1, told, "Give catalogues of one generator.")
    lengths = sorted({catalogue.directions.shape[1] for catalogue in catalogues})
    told = f"the catalogues have directions of {' and '.join(map(str, lengths))} numbers"
    require(len(lengths) == 1, told, "Give catalogues of one generator.")


def cosines(first: Catalogue, second: Catalogue) -> Tensor:
    """The cosines (K1, K2), float64, between the directions of two catalogues, without their signs.

    Errors: :class:`LanternError` as of :func:`check_one_generator`.
    """
    check_one_generator(first, second)
    return (unit(first.directions) @ unit(second.directions).T).clamp(-1, 1)


def unit(directions: Tensor) -> Tensor:
    """``directions`` (K, d) as float64 and of a length of 1 to its precision."""
    precise = directions.double()
    return precise / precise.norm(dim=1, keepdim=True)


def turned(entry: Entry, cosine: float) -> Entry:
    """``entry`` as it would be of a direction that lies at ``cosine`` to its own, so that both are walked the same way."""
    return entry if cosine >= 0 else dataclasses.replace(entry, sign=-entry.sign)


def compare(first: Catalogue, second: Catalogue, config: CompareConfig | None = None) -> Comparison:
    """What two catalogues of one generator share, and what not; errors as of :func:`cosines`."""
    threshold = (config or CompareConfig()).threshold
    matrix = cosines(first, second)
    # Rounded, so that of equal directions those at the same place find each other.
    strengths = (matrix.abs() * 1e6).round() / 1e6
    close: list[tuple[int, int]] = [(i, j) for i, j in (strengths > threshold).nonzero().tolist()]
    close.sort(key=lambda pair: (-float(strengths[pair]), abs(pair[0] - pair[1]), pair))
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for i, j in close:
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    matches = tuple(_match(first, second, i, partner[i], float(matrix[i, partner[i]])) for i in sorted(partner))
    only_first = tuple(i for i in range(len(first)) if i not in partner)
    return Comparison(matrix, matches, only_first, tuple(j for j in range(len(second)) if j not in taken))


def _match(first: Catalogue, second: Catalogue, i: int, j: int, cosine: float) -> Match:
    return Match(i, j, cosine, changes(first.entries[i], turned(second.entries[j], cosine)))
