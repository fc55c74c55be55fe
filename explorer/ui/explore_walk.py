"""The strip of the tab Explore: what it shows, what is said of it, and what is taken away of it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, get_type_hints

import gradio as gr

from explorer.atlas import stamp_of
from explorer.directions.catalogue import MAX_MAGNITUDE
from explorer.directions.picks import seeds_in
from explorer.directions.strips import unpinned
from explorer.movies import MovieConfig
from explorer.mp4 import INSTALL, can_write_mp4
from explorer.picture_files import spelled, write_png
from explorer.ui import render
from explorer.ui.exports import address, exports
from explorer.ui.guard import guarded, labelled, real, whole
from explorer.ui.start import NOISE
from explorer.views import WalkView, Workbench
from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require

Result = TypeVar("Result")
MOST_ROWS = 8
FORMATS = ("webp", "gif", "mp4", "png")
"""Films of a walk, there and back, and the strip itself as a picture without loss."""
_LABELS = {"alpha": NOISE, "second_magnitude": "Second magnitude"}
"""What the page calls the fields of :class:`WalkView`, where it is something else."""
WITHOUT_ORIGIN = "a row that starts from the photograph stays for as long as the photograph does"


@dataclasses.dataclass(frozen=True)
class WalkControls:
    """What a strip is made of, in the order in which callbacks get their values; the origin last, which no client sends."""

    direction: gr.Slider
    magnitude: gr.Slider
    seed: gr.Number
    truncation: gr.Slider
    alpha: gr.Slider
    rows: gr.Slider
    second: gr.Slider
    second_magnitude: gr.Slider
    pins: gr.Textbox
    catalogue: gr.Dropdown
    origin: gr.State

    def all(self) -> list[Any]:
        """Every control."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


class WalkValues(NamedTuple):
    """The values of :class:`WalkControls`, in their order."""

    direction: float
    magnitude: float
    seed: float
    truncation: float
    alpha: float
    rows: float
    second: float
    second_magnitude: float
    pins: str
    catalogue: str
    origin: Sequence[float]


def spread(function: Callable[..., Result]) -> Callable[..., Result]:
    """``function(values, *more)`` as gradio calls it, and as programs are told of it.

    It has a parameter for each of :class:`WalkValues`, then those of ``more``; the origin comes last.
    """
    *fields, origin = (
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=hint)
        for name, hint in get_type_hints(WalkValues).items()
    )
    own = inspect.signature(function)
    parameters = [*fields, *list(own.parameters.values())[1:], origin]

    @functools.wraps(function)
    def taken(*given: Any) -> Result:
        values = WalkValues._make([*given[: len(fields)], given[-1]])
        return function(values, *given[len(fields) : -1])

    vars(taken)["__signature__"] = own.replace(parameters=parameters)
    taken.__annotations__ = {one.name: one.annotation for one in parameters}
    return taken


def sample_values(direction: Any, magnitude: Any, seed: Any, truncation: Any) -> dict[str, Any]:
    """The values of the controls as fields of a view; :class:`LanternError` names the one that is no number."""
    return {
        "direction": whole("direction", direction),
        "magnitude": real("magnitude", magnitude),
        "seed": whole("seed", seed),
        "truncation": real("truncation", truncation),
    }


@labelled(_LABELS)
def view_of(values: WalkValues) -> WalkView:
    """The values of the controls as a view; :class:`LanternError` names the one that is wrong."""
    noise, count = real("noise", values.alpha), whole("number of rows", values.rows)
    require(1 <= count <= MOST_ROWS, f"the number of rows is {count}", f"Choose 1 to {MOST_ROWS}.")
    return WalkView(
        **sample_values(values.direction, values.magnitude, values.seed, values.truncation),
        # Neighbours without noise would be the same row again and again.
        count=1 if values.origin and not noise else count,
        origin=tuple(values.origin),
        alpha=noise,
        second=whole("second direction", values.second),
        second_magnitude=real("second magnitude", values.second_magnitude),
        pins=values.pins or "",
    )


def walk(bench: Workbench) -> Any:
    """The callback that draws the strip."""

    @guarded
    @spread
    def walk(values: WalkValues) -> render.Pixels:
        """The strip of a direction: a latent code a row, from minus to plus the magnitude."""
        view = view_of(values)
        return render.strip(bench.on(values.catalogue).walk(view, "auto"), view.magnitudes)

    return walk


def words(bench: Workbench) -> Any:
    """The callback that says what the strip shows, and the command that draws it."""

    @guarded
    @spread
    def about(values: WalkValues) -> str:
        """What is known of a direction, and the command line that draws its strip."""
        view = view_of(values)
        known = bench.on(values.catalogue)
        parts = [about_direction(known, view.direction)]
        if view.second_magnitude:
            title = render.plain(_caption(known, view.second))
            parts.append(f"Besides, every image is shifted by {view.second_magnitude:g} along **direction {title}**")
        if view.origin:
            parts.append("The first row starts from the photograph" if not view.pins else "After the pins comes the photograph")
        return f"{'. '.join(parts)}.\n\n```sh\n{command_line(bench, values.catalogue, view, 'walk', 'walk.png')}\n```"

    return about


def about_direction(bench: Workbench, index: int) -> str:
    """Markdown: what the catalogue says of direction ``index``."""
    entry = bench.catalogue.entries[index]
    return render.about_direction(_caption(bench, index), entry.notes, entry.scores)


def _caption(bench: Workbench, index: int) -> str:
    title, status = bench.catalogue.title(index), bench.catalogue.entries[index].status
    return title if status == "new" or status in title else f"{title} — {status}"


def command_line(bench: Workbench, catalogue: str, view: WalkView, command: str, out: str, *, private: bool = False) -> str:
    """The command that makes what ``view`` shows; if it is ``private``, without where on this machine files lie."""
    default = WalkView()
    folder = bench.shelf.place(catalogue).current
    rows = "count" if command == "walk" else "codes"
    options: dict[str, object] = {
        "generator": None if bench.generator == "pocket" else bench.generator,
        "directions": None if bench.shelf.is_plain(catalogue) else folder,
        "direction": view.direction,
        "magnitude": view.magnitude,
        "seed": view.seed,
        "truncation": None if view.truncation == default.truncation else view.truncation,
        rows: view.count,
        "image": "PHOTOGRAPH" if view.origin else None,
        "alpha": view.alpha if view.origin and view.alpha != default.alpha else None,
        "second": view.second if view.second_magnitude else None,
        "second_magnitude": view.second_magnitude or None,
        "pins": view.pins.replace(" ", ""),
        "out": out,
    }
    return spelled(command, options, whole=not private)


def pin(bench: Workbench) -> Any:
    """The callback of a click into the strip."""

    @guarded
    def pin(pins: str, seed: float, origin: Sequence[float], event: gr.SelectData) -> str:
        """Pin the row that was clicked on, or let it go if it is pinned."""
        row = render.strip_row(int(event.index[1]))
        return toggled(pins or "", whole("seed", seed), row, bool(origin))

    return pin


def toggled(pins: str, seed: int, row: int, photograph: bool) -> str:
    """``pins`` after a click on ``row`` of the strip: a pinned row goes, another one is pinned."""
    pinned = seeds_in(pins) if pins.strip() else []
    if row < len(pinned):
        pinned.pop(row)
    else:
        if photograph:
            raise LanternError(WITHOUT_ORIGIN, "Start from the seed to pin one of its rows.")
        require(len(pinned) < MOST_ROWS, f"{len(pinned)} codes are pinned", "Click on a pinned row to let it go.")
        pinned.append((seed, unpinned(pins, seed, row - len(pinned) + 1)[-1]))
    return ", ".join(f"{number}:{index}" for number, index in pinned)


def film(bench: Workbench) -> Any:
    """The callback that makes a film, or the strip as a file."""

    @guarded
    @spread
    def export(values: WalkValues, kind: str) -> tuple[str, str]:
        """The walk as a film (webp, gif, mp4), there and back, or as the strip without loss (png): a player and the file."""
        check_choice("format", kind, FORMATS)
        view = view_of(values)
        known = bench.on(values.catalogue)
        path = exports().place(f"walk-{view.direction}.{kind}")
        stamp = stamp_of(bench.engine, known.catalogue, [view.direction], view.magnitude, view.seed)
        name = "walk" if kind == "png" else "movie"
        stamp = {**stamp, "command": command_line(bench, values.catalogue, view, name, path.name, private=True)}
        if kind == "png":
            write_png(path, render.strip(known.walk(view), view.magnitudes), stamp)
        else:
            known.write_film(view, MovieConfig(), path, stamp)
        return _player(path, view), str(path)

    return export


def _player(path: Any, view: WalkView) -> str:
    said = f"A walk along direction {view.direction}, from -{view.magnitude:g} to +{view.magnitude:g} and back"
    if path.suffix == ".mp4":
        return (
            f'<video class="film" src="{address(path)}" controls autoplay loop muted playsinline aria-label="{said}"></video>'
        )
    return f'<img class="film" src="{address(path)}" alt="{said}">'


def format_choice() -> gr.Radio:
    """The formats, and whether an MP4 can be had."""
    info = "webp keeps all colours, gif plays everywhere, png is the strip itself."
    more = "" if can_write_mp4() else f" mp4: {INSTALL}"
    return gr.Radio(list(FORMATS), value=FORMATS[0], label="Format", info=info + more, elem_id="film-format")


def second_controls(last: int) -> tuple[gr.Slider, gr.Slider]:
    """The sliders of the second direction."""
    info = "Every image is shifted along it besides."
    second = gr.Slider(0, last, 0, step=1, precision=0, label="Second direction", info=info, elem_id="second")
    info = "Length of that shift, either way. 0: there is none."
    length = gr.Slider(
        -MAX_MAGNITUDE, MAX_MAGNITUDE, 0, step=0.1, label=_LABELS["second_magnitude"], info=info, elem_id="second-magnitude"
    )
    return second, length
