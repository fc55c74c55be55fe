"""Figures of the page, drawn by plotly. Colours follow the page, light or dark (see the style sheet); shapes say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.closer import CloserLook, Component

KEPT, DROPPED, FAINT = "#0072b2", "#d55e00", "#8a8073"
"""Blue and vermilion of the Okabe-Ito palette, apart for every kind of colour vision; what is dropped is hatched besides."""
SHOWN_COMPONENTS = 8
"""Pieces of a mask that have a bar of their own; the smaller ones are counted."""
_LEFT = 124
"""Pixels to the left of the bars of a closer look, for their names."""
_STEPS = {"size": "within the area", "histogram": "with a good histogram", "empty": "with pieces left"}
_CLEAR = "rgba(0,0,0,0)"
_HATCHED = {"shape": "/", "fgcolor": DROPPED, "bgcolor": _CLEAR, "fillmode": "replace", "size": 6}


def layout(height: int, **given: Any) -> dict[str, Any]:
    """What all figures share; ``height`` in pixels."""
    return {
        "height": height,
        "autosize": True,
        "margin": {"l": 8, "r": 8, "t": 30, "b": 8},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": FAINT},
        "dragmode": False,
        "showlegend": False,
        **given,
    }


def figure(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> Any:
    """A plotly figure of traces and a layout in plotly's own words."""
    # Imported when first drawn: it takes as long as the rest of the page.
    import plotly.graph_objects as go

    # Without the template that plotly would send along, several kilobytes each time.
    return go.Figure({"data": list(data), "layout": {"template": {}, **layout}})


def _axis(**given: Any) -> dict[str, Any]:
    return {"automargin": False, "fixedrange": True, "zeroline": False, "gridcolor": "rgba(138,128,115,.25)", **given}


def funnel(counts: Mapping[str, int]) -> Any:
    """How many of the samples are left after each step, and, hatched, how many the step rejected."""
    left, names, remaining, rejected = counts["generated"], ["generated"], [counts["generated"]], [0]
    for step, words in _STEPS.items():
        left -= counts[step]
        names.append(words)
        remaining.append(left)
        rejected.append(counts[step])
    names.append("kept")
    remaining.append(counts["kept"])
    rejected.append(0)
    labels = [
        f"{name}: {count}" + (f" ({gone} rejected)" if gone else "")
        for name, count, gone in zip(names, remaining, rejected, strict=True)
    ]
    shared = {"type": "bar", "orientation": "h", "y": labels, "hoverinfo": "skip", "width": 0.62}
    solid = {**shared, "x": remaining, "marker": {"color": [FAINT] * 4 + [KEPT]}}
    hatched = {
        **shared,
        "x": rejected,
        "marker": {"color": DROPPED, "pattern": _HATCHED, "line": {"color": DROPPED, "width": 1}},
    }
    return figure(
        [solid, hatched],
        layout(
            210,
            title={"text": "Where the samples go", "font": {"size": 13}, "x": 0.03, "y": 0.96, "xref": "container"},
            barmode="stack",
            xaxis=_axis(range=[0, max(counts["generated"], 1)], visible=False),
            yaxis=_axis(autorange="reversed", showgrid=False, automargin=True),
        ),
    )


def look(found: CloserLook) -> Any:
    """A sample's area against its limit, its histogram with the bins that decide, and its pieces."""
    shown = found.components[:SHOWN_COMPONENTS]
    pieces = [*_area(found), *_histogram(found), *_components(shown)]
    rows = max(len(shown), 1)
    height = 350 + 22 * rows
    titles = _titles(found, len(found.components) - len(shown))
    lines: list[dict[str, Any]] = [_limit(found.filters.max_area, "y")]
    if found.filters.components and shown:
        lines.append(_limit(found.filters.min_component, "y3"))
    inner = height - 52
    # Heights in pixels from the top: a bar, the histogram under two lines of words, the pieces likewise.
    ends = [1 - pixels / inner for pixels in (4, 34, 102, 192, 252)]
    return figure(
        pieces,
        layout(
            height,
            margin={"l": _LEFT, "r": 8, "t": 30, "b": 22},
            bargap=0.25,
            annotations=[_title(words, top) for words, top in zip(titles, (ends[0], ends[2], ends[4]), strict=True)],
            shapes=lines,
            xaxis=_axis(anchor="y", range=[0, 1], tickformat=".0%", nticks=6),
            yaxis=_axis(domain=[ends[1], ends[0]], visible=False),
            xaxis2=_axis(anchor="y2", range=[-1.02, 1.02], nticks=9),
            yaxis2=_axis(domain=[ends[3], ends[2]], tickformat=".0%", nticks=4),
            xaxis3=_axis(anchor="y3", range=[0, 1.02], tickformat=".0%", nticks=6),
            yaxis3=_axis(domain=[0, ends[4]], autorange="reversed", showgrid=False, type="category"),
        ),
    )


def _titles(found: CloserLook, more: int) -> tuple[str, str, str]:
    filters = found.filters
    size = f"Area {found.area:.1%} against the limit {filters.max_area:.0%}" + ("" if filters.size else " (filter off)")
    rule = "two are needed" if filters.preset == "reference" else "none is allowed"
    histogram = f"Grey levels of the shifted image<br>hatched: local maxima; {rule}" + (
        "" if filters.histogram else " (filter off)"
    )
    removed = f"hatched: removed, below {filters.min_component:.0%}" if filters.components else "filter off"
    pieces = f"Pieces of the mask against the largest<br>{removed}" + (f"; {more} more" if more else "")
    return size, histogram, pieces


def _title(words: str, top: float) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "x": 0, "xshift": 12 - _LEFT, "y": top, "xanchor": "left", "yanchor": "bottom"}
    return {"text": words, "showarrow": False, "align": "left", "font": {"size": 12}, **place}


def _limit(value: float, axis: str) -> dict[str, Any]:
    across = {"xref": axis.replace("y", "x"), "yref": f"{axis} domain", "x0": value, "x1": value, "y0": -0.1, "y1": 1.1}
    return {"type": "line", "line": {"color": DROPPED, "width": 2, "dash": "dash"}, **across}


def _area(found: CloserLook) -> list[dict[str, Any]]:
    failed = any(check.name == "size" and check.state == "rejected" for check in found.checks)
    marker = _marker([failed])
    return [{"type": "bar", "orientation": "h", "x": [found.area], "y": ["area"], "xaxis": "x", "yaxis": "y", "marker": marker}]


def _histogram(found: CloserLook) -> list[dict[str, Any]]:
    bins = len(found.histogram)
    levels = [-1 + (2 * index + 1) / bins for index in range(bins)]
    marked = [index in found.maxima for index in range(bins)]
    hover = [f"bin {index + 1}: {share:.1%}" for index, share in enumerate(found.histogram)]
    bars = {"x": levels, "y": list(found.histogram), "width": 1.8 / bins, "hovertext": hover, "hoverinfo": "text"}
    return [{"type": "bar", "xaxis": "x2", "yaxis": "y2", "marker": _marker(marked), **bars}]


def _components(shown: Sequence[Component]) -> list[dict[str, Any]]:
    names = [f"{index + 1}: {piece.share:.1%} {'kept' if piece.kept else 'removed'}" for index, piece in enumerate(shown)]
    marker = _marker([not piece.kept for piece in shown])
    shares = [piece.share for piece in shown]
    bars = {"x": shares, "y": names, "orientation": "h", "hoverinfo": "skip"}
    return [{"type": "bar", "xaxis": "x3", "yaxis": "y3", "marker": marker, **bars}] if shown else []


def _marker(hatched: Sequence[bool]) -> dict[str, Any]:
    """Solid blue bars, and hatched ones where ``hatched`` says so."""
    return {
        "color": [DROPPED if marked else KEPT for marked in hatched],
        "line": {"color": [DROPPED if marked else KEPT for marked in hatched], "width": 1},
        "pattern": {**_HATCHED, "shape": ["/" if marked else "" for marked in hatched], "fgcolor": DROPPED},
    }


_PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loss", ("loss", "held_out_loss")),
    ("scores on held-out samples", ("max_f", "iou", "accuracy")),
    ("acceptance rate", ("acceptance_rate",)),
)
"""What is drawn together, on one scale; figures that are in none of these have a panel each."""
_HIDDEN = ("learning_rate", "waiting_for_samples")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8073", "#e69f00")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_PANELS = 4
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def curves(runs: Mapping[str, Curves]) -> Any:
    """The figures of ``runs`` over their steps, a panel for those that belong together; a run a colour, a figure a dash."""
    panels = _panels(runs)
    if not panels:
        words = {"text": "No figures yet", "showarrow": False, "font": {"size": 14}, "x": 0.5, "y": 0.5}
        return figure([], layout(120, xaxis={"visible": False}, yaxis={"visible": False}, annotations=[words]))
    traces: list[dict[str, Any]] = []
    given: dict[str, Any] = {}
    titles = []
    part = 1 / len(panels)
    for place, (title, names) in enumerate(panels):
        number = "" if place == 0 else str(place + 1)
        top = 1 - place * part
        traces += [_curve(run, name, number, runs) for run in runs for name in names if name in runs[run]]
        given[f"xaxis{number}"] = _axis(anchor=f"y{number}", nticks=7)
        given[f"yaxis{number}"] = _axis(
            domain=[max(0.0, top - part + 0.14 * part), top - 0.16 * part], nticks=5, automargin=True
        )
        titles.append({**_title(title, top - 0.15 * part), "xshift": 0})
    legend = {"orientation": "h", "y": -0.08 / len(panels), "yanchor": "top", "font": {"size": 12}}
    margin = {"l": 48, "r": 12, "t": 8, "b": 40}
    shown = layout(190 * len(panels) + 70, **given, annotations=titles, legend=legend, margin=margin)
    return figure(traces, {**shown, "showlegend": True})


def _panels(runs: Mapping[str, Curves]) -> list[tuple[str, tuple[str, ...]]]:
    there = [name for run in runs.values() for name in run if name not in _HIDDEN]
    known = [(title, names) for title, names in _PANELS if any(name in there for name in names)]
    others = dict.fromkeys(name for name in there if not any(name in names for _, names in _PANELS))
    return [*known, *((name.replace("_", " "), (name,)) for name in others)][:MOST_PANELS]


def _span(title: str) -> dict[str, Any]:
    """From zero on for shares; a loss is drawn where it is."""
    return {} if title == "loss" else {"rangemode": "tozero"}


def _curve(run: str, name: str, number: str, runs: Mapping[str, Curves]) -> dict[str, Any]:
    steps, values = runs[run][name]
    group = next((names for _, names in _PANELS if name in names), (name,))
    colour, dash = list(runs).index(run), group.index(name)
    if len(runs) == 1:
        colour = dash
    label = name.replace("_", " ") if len(runs) == 1 else f"{run}: {name.replace('_', ' ')}"
    line = {"color": _COLOURS[colour % len(_COLOURS)], "dash": _DASHES[dash % len(_DASHES)], "width": 2}
    mode = "lines+markers" if len(steps) < 12 else "lines"
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    return {"type": "scatter", "mode": mode, "x": list(steps), "y": list(values), "name": label, "line": line, **axes}
