"""The published figures against the paper's text, and the forms of a table."""

from __future__ import annotations

import csv
import io
import re

import pytest

from segmentation.errors import LanternError
from segmentation.layouts import LAYOUTS
from segmentation.published import METRICS, PAPER, TABLES, published_table
from segmentation.tables import Cell, Picture, Table, measured_row, published_rows

# As the paper prints them, each line's figures in order.
PRINTED = {
    1: {
        "PerturbGAN": "— 0.380 — — — —",
        "ReDO": "— 0.426 0.845 — 0.764 0.879",
        "BigBiGAN": "0.794 0.683 0.930 0.760 0.540 0.765",
        "E-BigBiGAN (w/o z-noising)": "0.750 0.619 0.918 0.814 0.689 0.874",
        "E-BigBiGAN (with z-noising)": "0.834 0.710 0.940 0.878 0.804 0.904",
    },
    2: {
        "HS": "0.673 0.508 0.847 0.504 0.369 0.826 0.561 0.433 0.843",
        "wCtr": "0.684 0.517 0.862 0.522 0.392 0.835 0.541 0.416 0.838",
        "WSC": "0.683 0.498 0.852 0.528 0.384 0.862 0.523 0.387 0.865",
        "BigBiGAN": "0.782 0.672 0.899 0.608 0.498 0.878 0.549 0.453 0.856",
        "E-BigBiGAN": "0.797 0.684 0.906 0.624 0.511 0.882 0.563 0.464 0.860",
    },
    3: {"Previous state of the art": "0.654 0.781 0.630", "E-BigBiGAN": "0.614 0.742 0.638"},
    4: {
        "Base": "0.737 0.626 0.859 0.575 0.454 0.817 0.498 0.389 0.758",
        "+Imagenet embeddings": "0.773 0.657 0.874 0.616 0.483 0.832 0.533 0.413 0.772",
        "+Size filter": "0.781 0.670 0.900 0.620 0.499 0.871 0.552 0.443 0.842",
        "+Histogram": "0.779 0.670 0.900 0.621 0.503 0.875 0.555 0.450 0.850",
        "+Connected components": "0.797 0.684 0.906 0.624 0.511 0.882 0.563 0.464 0.860",
    },
}


@pytest.mark.parametrize("number", TABLES)
def test_the_paper_is_quoted_as_printed(number: int) -> None:
    table = published_table(number)
    columns = [(name, metric) for name, metrics in table.columns for metric in metrics]
    quoted = {
        row.method: " ".join(f"{row.figures[name]:.3f}" if name in row.figures else "—" for name in columns)
        for row in table.rows
        if row.source.startswith(PAPER)
    }
    assert quoted == PRINTED[number]


def test_every_row_has_a_source_and_every_column_a_data_set() -> None:
    known = {layout.name for layout in LAYOUTS}
    for table in TABLES.values():
        assert {name for name, _ in table.columns} <= known
        for row in table.rows:
            assert row.source and row.protocol and row.starts_from
            assert set(row.figures) <= {(name, metric) for name, metrics in table.columns for metric in metrics}
            assert all(0 < value < 1 for value in row.figures.values()) and all(metric in METRICS for _, metric in row.figures)
            assert bool(row.runs) == bool(row.needs)
    with pytest.raises(LanternError, match="no table 5"):
        published_table(5)


LATER = {
    "TokenCut": "0.803 0.712 0.918 0.672 0.576 0.903 0.600 0.533 0.880",
    "TokenCut + bilateral solver": "0.874 0.772 0.934 0.755 0.624 0.914 0.697 0.618 0.897",
    "SelfMask": "0.956 0.818 0.955 0.882 0.660 0.933 0.852 0.655 0.919",
    "SelfMask, released weights, 20 queries": "— — — — 0.653 — — — —",
    "Melas-Kyriazi et al., 2021": "— — — — — — — — —",
    "LOST": "— — — — — — — — —",
    "FOUND": "— — — — — — — — —",
}
"""As the pages that their rows name have them, in per cent there."""


def test_later_works_stand_with_their_address_and_what_they_start_from() -> None:
    published = published_table(2)
    columns = [(name, metric) for name, metrics in published.columns for metric in metrics]
    found = {}
    for row in published.rows:
        if not row.source.startswith(PAPER):
            found[row.method] = " ".join(f"{row.figures[name]:.3f}" if name in row.figures else "—" for name in columns)
            assert "https://" in row.source and "pretrained" in row.starts_from and not row.runs
            assert ("no checked figure at hand" in row.source) == (not row.figures)
    assert found == LATER
    lines = Table("Table 2", published.columns, tuple(published_rows(published))).markdown().splitlines()
    [lost] = [line for line in lines if line.startswith("| LOST |")]
    assert "| no figures, starts from networks pretrained without labels | not known |" in lost
    [cut] = [line for line in lines if line.startswith("| TokenCut |")]
    assert "| published only, starts from networks pretrained without labels | as voynov" in cut


def table() -> Table:
    runs = [{("ECSSD", "max_f"): 0.5, ("ECSSD", "iou"): 0.25}, {("ECSSD", "max_f"): 0.7, ("ECSSD", "iou"): 0.35}]
    own = measured_row("mine <&> | two", runs, "voynov", "this program")
    columns = (("ECSSD", ("max_f", "iou")),)
    rows = (*published_rows(published_table(2)), own)
    return Table("Table 2", columns, rows, ("something is missing",), (Picture("pictures/a.jpg", 'best "a"'),))


def test_mean_and_standard_deviation_over_runs() -> None:
    cell = Cell((0.5, 0.7))
    assert cell.mean == pytest.approx(0.6) and cell.text() == "0.600 ± 0.141"
    assert cell.std == pytest.approx(0.02**0.5)
    assert (Cell((0.25,)).text(), Cell((0.25,)).std) == ("0.250", 0.0)


def test_markdown_has_the_own_row_among_the_published_ones() -> None:
    lines = table().markdown().splitlines()
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}
    assert len(widths) == 1
    [own] = [line for line in lines if "mine" in line]
    assert own.startswith(
        r"| **mine <&> \| two** | **0.600 ± 0.141** | **0.300 ± 0.071** | measured, mean of 2 runs | voynov |"
    )
    assert lines[-1] == "- something is missing"


def test_a_row_that_is_published_figures_only_says_so() -> None:
    rows = tuple(published_rows(published_table(3)))
    lines = Table("Table 3", (("ImageNet", ("max_box_acc",)),), rows, (), ()).markdown().splitlines()
    [state] = [line for line in lines if line.startswith("| Previous state of the art")]
    assert "| 0.654 | published only, starts from image labels |" in state


def test_csv_keeps_the_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(table().csv())))
    own = rows[-1]
    assert (own["method"], own["ECSSD max_f"], own["ECSSD max_f std"], own["origin"], own["runs"]) == (
        "mine <&> | two",
        "0.6",
        "0.141421",
        "measured",
        "2",
    )
    assert rows[0]["ECSSD max_f"] == "0.673" and rows[0]["ECSSD max_f std"] == ""


def test_html_escapes_and_shows_pictures() -> None:
    page = table().html()
    assert "mine &lt;&amp;&gt; | two" in page and "<&>" not in page
    assert '<img src="pictures/a.jpg" alt="best &quot;a&quot;">' in page
    assert page.count('<tr class="measured">') == 1 and page.count('<tr class="published">') == 12


def test_json_keeps_every_run() -> None:
    own = table().to_json()["rows"][-1]
    assert own["scores"]["ECSSD"]["max_f"]["runs"] == [0.5, 0.7] and own["runs"] == 2


def test_a_row_without_a_score_is_not_measured() -> None:
    table = Table("T", (("A", ("iou",)),), (measured_row("mine", [], "voynov", "this program"),))
    last = table.markdown().splitlines()[-1]
    assert "not measured" in last and "**" not in last
