"""Commands that make pictures of directions: atlas, thumbnails, movie, figure."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from explorer.atlas import Selection, StripConfig, pages, stamp_of, write_thumbnails
from explorer.atlas import atlas as draw_atlas
from explorer.commands.options import DirectionOptions, Flat, GeneratorOptions, second_shift, suffix_of
from explorer.directions.thumbnails import put_thumbnails
from explorer.movies import SUFFIXES, MovieConfig
from explorer.mp4 import check_mp4
from explorer.paper_figures import FigureConfig, directions_figure, lighting_figure, lighting_samples
from explorer.picture_files import spelled, write_png
from explorer.runs.terminal import Terminal
from explorer.starts import Start
from explorer.views import WalkView, Workbench, open_workbench
from segmentation.errors import require
from segmentation.filters import FilterConfig


@dataclasses.dataclass(frozen=True)
class CatalogueOptions(GeneratorOptions):
    """A generator and its directions."""

    directions: Path | None = None
    """Folder of the catalogue of directions; by default the one that belongs to the generator."""

    def open_bench(self) -> Workbench:
        """The workbench."""
        return open_workbench(self.generator, self.directions, self.engine)


@dataclasses.dataclass(frozen=True)
class StartOptions:
    """Where walks start."""

    codes: int | None = None
    """Latent codes."""
    seed: int = Start.seed
    """Seed of the latent codes."""
    truncation: float = Start.truncation
    """Entries of the latent codes stay within plus or minus this; 4 and above: no truncation."""
    image: Path | None = None
    """A photograph to start from: its latent code comes first, the others are that code with noise."""
    alpha: float = Start.alpha
    """With an image: weight of the noise, which is drawn by seed."""

    def check(self, default: int) -> Start:
        """The start, without the photograph, which needs a generator."""
        return Start(default if self.codes is None else self.codes, self.seed, self.truncation, self.alpha)

    def open(self, bench: Workbench, default: int) -> Start:
        """The start; ``default`` is how many codes there are if nobody says."""
        start = self.check(default)
        if self.image is None:
            return start
        return dataclasses.replace(start, origin=tuple(bench.reconstruct(self.image).codes[0].tolist()))


def atlas(
    options: Annotated[CatalogueOptions, Flat],
    selection: Annotated[Selection, Flat],
    start: Annotated[StartOptions, Flat],
    config: Annotated[StripConfig, Flat],
    out: Path,
    rows: int | None = None,
) -> None:
    """All directions of a catalogue as strips, with index, label, magnitude and sign beside each.

    Args:
        options: the generator and its directions.
        selection: which directions, in which order.
        start: the latent codes, one by default.
        config: how the strips are drawn.
        out: the picture (.png).
        rows: directions a page, on pages FILE-1.png and so on; by default all in one picture.
    """
    suffix_of(out, ".png")
    start.check(1)
    bench = options.open_bench()
    indices = selection.of(bench.catalogue)
    codes = start.open(bench, 1)
    command = spelled("atlas", {**told(options, selection, start, config), "rows": rows, "out": out})
    for path, part in pages(indices, rows, out):
        with Terminal(path.name).watching() as watcher:
            picture = draw_atlas(bench.engine, bench.catalogue, part, codes, config, selection.sort, watcher)
        stamp = stamp_of(bench.engine, bench.catalogue, part, config.magnitude, codes.seed)
        write_png(path, picture, {**stamp, "command": command})
        print(f"{len(part)} directions in {path}")


def thumbnails(options: Annotated[GeneratorOptions, Flat], directions: Path, seed: int = 0) -> None:
    """Keep a small strip of every direction beside its catalogue; one made for another sign or magnitude is replaced.

    Args:
        options: the generator.
        directions: folder of the catalogue.
        seed: seed of the latent code that is walked.
    """
    bench = open_workbench(options.generator, directions, options.engine)
    with tempfile.TemporaryDirectory() as made, Terminal("thumbnails").watching() as watcher:
        names = write_thumbnails(bench.engine, bench.catalogue, Path(made), seed=seed, watcher=watcher)
        put_thumbnails(directions, {index: Path(made, name) for index, name in enumerate(names)}, "thumbnails")
    print(f"{len(names)} thumbnails in {directions}")


def movie(
    options: Annotated[DirectionOptions, Flat],
    start: Annotated[StartOptions, Flat],
    config: Annotated[MovieConfig, Flat],
    out: Path,
    magnitude: float | None = None,
    second: int | None = None,
    second_magnitude: float | None = None,
    pins: str = "",
) -> None:
    """A movie of a walk from minus to plus the magnitude along a direction and back.

    Args:
        options: the generator and the direction.
        start: the latent codes, four by default.
        config: how long it takes, and how it looks.
        out: the movie (.webp, which keeps all colours, .gif, or .mp4, which needs requirements-mp4.txt).
        magnitude: length of the shift at the ends; by default what the catalogue says.
        second: index of a second direction, by which every image is shifted besides.
        second_magnitude: length of that shift, also below 0; by default what the catalogue says.
        pins: latent codes that come first, whatever the seed: seed:index of each, as in 11:0,11:3.
    """
    if suffix_of(out, *SUFFIXES) == ".mp4":
        check_mp4()
    start.check(4)
    bench, index = options.open()
    codes = start.open(bench, 4)
    length = bench.catalogue.magnitude(index, magnitude)
    besides = second_shift(bench.catalogue, second, second_magnitude)
    where = (codes.seed, codes.truncation, codes.codes, WalkView.steps, codes.origin, codes.alpha)
    stamp = stamp_of(bench.engine, bench.catalogue, [index], length, codes.seed)
    more = {"magnitude": magnitude, "second": second, "second_magnitude": second_magnitude, "pins": pins, "out": out}
    command = spelled("movie", {**told(options, start, config), **more})
    with Terminal(out.name).watching() as watcher:
        bench.write_film(WalkView(index, length, *where, *besides, pins), config, out, {**stamp, "command": command}, watcher)
    print(f"direction {bench.catalogue.title(index)}, magnitude {length:g}: {out}")


def figure(
    options: Annotated[DirectionOptions, Flat],
    start: Annotated[StartOptions, Flat],
    strips: Annotated[StripConfig, Flat],
    filters: Annotated[FilterConfig, Flat],
    config: Annotated[FigureConfig, Flat],
    out: Path,
    which: Literal["directions", "lighting"],
) -> None:
    """The paper's Figure 1 (interpretable directions as strips) or 2 (images, shifted images, masks) for a generator.

    Args:
        options: the generator; with lighting also the direction.
        start: the latent codes; with directions two by default.
        strips: how strips are drawn; the side and the magnitude count in both figures.
        filters: with lighting: what is rejected.
        config: what is shown.
        out: the picture (.png).
        which: directions (Figure 1) or lighting (Figure 2).
    """
    suffix_of(out, ".png")
    start.check(2)
    command = spelled("figure", {"which": which, **told(options, start, strips, filters, config), "out": out})
    if which == "directions":
        require(options.direction is None, "--direction is for the figure of lighting", "Name directions with --only.")
        bench = open_workbench(options.generator, options.directions, options.engine)
        indices, length = config.directions(bench.catalogue), strips.magnitude
        codes = start.open(bench, 2)
        with Terminal(out.name).watching() as watcher:
            picture = directions_figure(bench.engine, bench.catalogue, codes, strips, config, watcher)
    else:
        bench, index = options.open()
        indices, length = [index], bench.catalogue.magnitude(index, strips.magnitude)
        codes = start.open(bench, 1)
        with Terminal(out.name).watching() as watcher:
            found = lighting_samples(bench.engine, bench.catalogue, index, length, codes, filters, config, watcher)
        print(f"magnitude {length:g}: {found.rejected_by.count('')} accepted of {found.looked_at}")
        picture = lighting_figure(found, strips.side)
    stamp = stamp_of(bench.engine, bench.catalogue, indices, length, start.seed)
    write_png(out, picture, {**stamp, "command": command})
    print(f"{', '.join(map(bench.catalogue.title, indices))}: {out}")


def told(*options: Any, prefix: str = "") -> dict[str, object]:
    """The options, dataclasses, that are not as they are by default, by their names on the command line."""
    found: dict[str, object] = {}
    for group in options:
        for field in dataclasses.fields(group):
            value = getattr(group, field.name)
            if dataclasses.is_dataclass(value):
                found |= told(value, prefix=f"{prefix}{field.name}.")
            elif value != field.default:
                found[f"{prefix}{field.name}"] = value
    return found
