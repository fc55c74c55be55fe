"""The paper's four tables as it printed them, and figures of later works, each with its source and protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from segmentation.errors import LanternError

METRICS = {
    "max_f": "max F",
    "iou": "IoU",
    "accuracy": "accuracy",
    "mae": "MAE",
    "s_measure": "S-measure",
    "e_measure": "E-measure",
    "weighted_f": "weighted F",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_v2": "MaxBoxAccV2",
    "px_ap": "PxAP",
}
"""What each score is called in a table."""
PAPER = "Voynov, Morozov and Babenko, 2020"
_VOYNOV = "voynov"
_SALIENCY = ("max_f", "iou", "accuracy")
Figures = Mapping[tuple[str, str], float]


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """A row that somebody printed."""

    method: str
    """As its table calls it."""
    figures: Figures
    """By data set and metric."""
    source: str
    """Where the figures stand, and where they come from."""
    protocol: str
    """How they were measured, as far as it is said."""
    runs: str = ""
    """How the row can be run with this program; "": it is published figures only, or a name if there are none."""
    needs: str = ""
    """What that takes: data, weights."""
    starts_from: str = "nothing"
    """What the method starts from: nothing, a generator trained without labels, pretrained networks, image labels."""


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """A table of the paper, with what has been added to it."""

    number: int
    title: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    """Data sets, each with its metrics."""
    rows: tuple[PublishedRow, ...]


def _row(values: str, *columns: str, metrics: tuple[str, ...] = _SALIENCY) -> dict[tuple[str, str], float]:
    names = [(column, metric) for column in columns for metric in metrics]
    return {name: float(value) for name, value in zip(names, values.split(), strict=True) if value != "-"}


_CUB, _FLOWERS = "CUB-200-2011", "Flowers-102"
_OBJECTS = (_CUB, _FLOWERS)
_SETS = ("ECSSD", "DUTS-TE", "DUT-OMRON")
_TRAIN = "python -m explorer train --generator bigbigan --out RUN --seed N"
_EMBED = f"{_TRAIN} --embeddings Z.npy"
_TEN = "mean of ten runs"
_NOISELESS = f"{_EMBED} --alpha 0"
_WEIGHTS = "BigBiGAN's weights (python -m explorer weights) and, for the paper's schedule, a GPU; or another generator"
_CODES = f"{_WEIGHTS}; embeddings of the training images (python -m explorer encode)"


def _paper(method: str, table: int, values: str, columns: tuple[str, ...], runs: str = "", needs: str = "") -> PublishedRow:
    return PublishedRow(
        method,
        _row(values, *columns),
        f"{PAPER}, Table {table}",
        f"{_VOYNOV}, {_TEN}",
        runs,
        needs,
        "a generator trained without labels",
    )


def _shallow(method: str, values: str, key: str) -> PublishedRow:
    return PublishedRow(
        method,
        _row(values, *_SETS),
        f"{PAPER}, Table 2, by the methods' published code",
        _VOYNOV,
        f"python -m explorer reproduce --table 2 --methods {key}",
        "the data sets alone; written anew from its paper, so its figures differ",
    )


_PRETRAINED = "networks pretrained without labels"
_TOKENCUT = "https://github.com/YangtaoWANG95/TokenCut"
_SELFMASK = "https://github.com/NoelShin/selfmask"
_NOT_CHECKED = "no checked figure at hand"


def _named(method: str, address: str, starts_from: str = _PRETRAINED) -> PublishedRow:
    """A work of which no figure was found in a source that could be read."""
    return PublishedRow(method, {}, f"{address}; {_NOT_CHECKED}", "not known", starts_from=starts_from)


_MELAS_KYRIAZI = _named("Melas-Kyriazi et al., 2021", "https://arxiv.org/abs/2105.08127", "pretrained generators")
_LATER = (
    PublishedRow(
        "TokenCut",
        _row(".803 .712 .918 .672 .576 .903 .600 .533 .880", *_SETS),
        f"Wang et al., 2022: README of {_TOKENCUT}, section 4.2",
        "as voynov, by unsupervised_saliency_detection/metric.py there; maps of the two parts of a cut",
        starts_from=_PRETRAINED,
    ),
    PublishedRow(
        "TokenCut + bilateral solver",
        _row(".874 .772 .934 .755 .624 .914 .697 .618 .897", *_SETS),
        f"Wang et al., 2022: README of {_TOKENCUT}, section 4.2",
        "as voynov, by unsupervised_saliency_detection/metric.py there; maps refined afterwards",
        starts_from=_PRETRAINED,
    ),
    PublishedRow(
        "SelfMask",
        _row(".956 .818 .955 .882 .660 .933 .852 .655 .919", *_SETS),
        "Shin et al., 2022: listed at https://paperswithcode2.com/paper/284442",
        f"each image's highest F, with beta squared 0.09, by metrics/f_measure.py of {_SELFMASK}: not the max F of the others",
        starts_from=_PRETRAINED,
    ),
    PublishedRow(
        "SelfMask, released weights, 20 queries",
        {("DUTS-TE", "iou"): 0.653},
        f"Shin et al., 2022: README of {_SELFMASK}",
        "IoU of DUTS-TE alone is given",
        starts_from=_PRETRAINED,
    ),
    _MELAS_KYRIAZI,
    _named("LOST", "https://arxiv.org/abs/2109.14279"),
    _named("FOUND", "https://arxiv.org/abs/2212.07834"),
)
"""Later works, none of which starts from nothing. Their figures were read from the pages that their sources name."""

TABLE_1 = PublishedTable(
    1,
    "Unsupervised object segmentation",
    tuple((name, _SALIENCY) for name in _OBJECTS),
    (
        PublishedRow(
            "PerturbGAN",
            _row("- .380 - - - -", *_OBJECTS),
            f"{PAPER}, Table 1, from Bielski and Favaro, 2019",
            "as in its own paper",
        ),
        PublishedRow(
            "ReDO",
            _row("- .426 .845 - .764 .879", *_OBJECTS),
            f"{PAPER}, Table 1, from Chen et al., 2019",
            "as in its own paper",
        ),
        _paper("BigBiGAN", 1, ".794 .683 .930 .760 .540 .765", _OBJECTS, _TRAIN, _WEIGHTS),
        _paper("E-BigBiGAN (w/o z-noising)", 1, ".750 .619 .918 .814 .689 .874", _OBJECTS, _NOISELESS, _CODES),
        _paper("E-BigBiGAN (with z-noising)", 1, ".834 .710 .940 .878 .804 .904", _OBJECTS, f"{_EMBED} --alpha 0.2", _CODES),
        _MELAS_KYRIAZI,
    ),
)
TABLE_2 = PublishedTable(
    2,
    "Unsupervised saliency detection",
    tuple((name, _SALIENCY) for name in _SETS),
    (
        _shallow("HS", ".673 .508 .847 .504 .369 .826 .561 .433 .843", "hs"),
        _shallow("wCtr", ".684 .517 .862 .522 .392 .835 .541 .416 .838", "wctr"),
        _shallow("WSC", ".683 .498 .852 .528 .384 .862 .523 .387 .865", "wsc"),
        _paper("BigBiGAN", 2, ".782 .672 .899 .608 .498 .878 .549 .453 .856", _SETS, _TRAIN, _WEIGHTS),
        _paper("E-BigBiGAN", 2, ".797 .684 .906 .624 .511 .882 .563 .464 .860", _SETS, _NOISELESS, _CODES),
        *_LATER,
    ),
)
_BOXES = {"ImageNet": "max_box_acc", "CUB-200-2011 boxes": "max_box_acc", "OpenImages": "px_ap"}


def _boxes(values: str) -> dict[tuple[str, str], float]:
    return {name: float(value) for name, value in zip(_BOXES.items(), values.split(), strict=True)}


TABLE_3 = PublishedTable(
    3,
    "Weakly-supervised object localisation",
    tuple((name, (metric,)) for name, metric in _BOXES.items()),
    (
        PublishedRow(
            "Previous state of the art",
            _boxes(".654 .781 .630"),
            f"{PAPER}, Table 3, from Choe et al., 2020",
            "Choe et al., 2020",
            starts_from="image labels",
        ),
        PublishedRow(
            "E-BigBiGAN",
            _boxes(".614 .742 .638"),
            f"{PAPER}, Table 3",
            f"Choe et al., 2020, {_TEN}",
            _NOISELESS,
            _CODES,
            "a generator trained without labels",
        ),
    ),
)
TABLE_4 = PublishedTable(
    4,
    "Ablation",
    tuple((name, _SALIENCY) for name in _SETS),
    tuple(
        _paper(method, 4, values, _SETS, "python -m explorer ablate", _CODES)
        for method, values in (
            ("Base", ".737 .626 .859 .575 .454 .817 .498 .389 .758"),
            ("+Imagenet embeddings", ".773 .657 .874 .616 .483 .832 .533 .413 .772"),
            ("+Size filter", ".781 .670 .900 .62 .499 .871 .552 .443 .842"),
            ("+Histogram", ".779 .670 .900 .621 .503 .875 .555 .450 .850"),
            ("+Connected components", ".797 .684 .906 .624 .511 .882 .563 .464 .860"),
        )
    ),
)
TABLES = {table.number: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4)}


def published_table(number: int) -> PublishedTable:
    """The paper's table ``number``, 1 to 4; :class:`LanternError` for others."""
    if number not in TABLES:
        raise LanternError(f"the paper has no table {number}", f"Choose one of: {', '.join(map(str, TABLES))}.")
    return TABLES[number]
