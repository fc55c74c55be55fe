"""The catalogues of a generator that the page offers, by name; what is shipped is never written to, but copied first."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from explorer.directions import storage
from explorer.directions.catalogue import Catalogue, load_catalogue, update
from explorer.directions.comparing import CompareConfig
from explorer.directions.exchange import export_zip, import_zip
from explorer.directions.merging import Merged, merge
from explorer.directions.thumbnails import create, gathered
from explorer.generators.registry import ASSETS
from explorer.runs.command import runs_root
from segmentation.configuration import check_choice
from segmentation.errors import LanternError, require
from segmentation.files import read_json

KEPT = "catalogues"
"""Where, in the folder of runs, catalogues lie that the page made: copies of shipped ones, imported and merged ones."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_BY = "page"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a catalogue is read, and where it is written."""

    folder: Path | None
    """Where it came from; None: from memory."""
    copy: Path | None = None
    """Where edits go if that must not be written to; None: there."""

    @property
    def current(self) -> Path | None:
        """Where it is read now: in the copy, once there is one."""
        return self.copy if self.copy is not None and (self.copy / storage.CATALOGUE).exists() else self.folder

    @property
    def target(self) -> Path:
        """Where edits go."""
        return self.copy or self.folder or Path()


class Shelf:
    """The catalogues that fit one generator: the one that was opened, other shipped ones, those of runs, and the page's own.

    Safe between threads; between processes as a catalogue's folder is.
    """

    def __init__(
        self,
        generator: str,
        fingerprints: Sequence[str],
        opened: Catalogue,
        folder: Path | None = None,
        by_default: bool = False,
    ) -> None:
        self.fingerprints = tuple(fingerprints)
        self.opened = opened
        self._by_default = by_default
        self.first = generator if folder is None else folder.name if folder.name != "directions" else generator
        self._folder = folder
        self._read: dict[Path, tuple[Any, Catalogue | None]] = {}
        self._lock = Lock()

    def places(self) -> dict[str, Place]:
        """Every catalogue by its name, the opened one first."""
        root = runs_root()
        found = {self.first: self._placed(self.first, self._folder)}
        for folder in sorted(path.parent for path in ASSETS.glob(f"*/{storage.CATALOGUE}")):
            found.setdefault(folder.name, self._placed(folder.name, folder))
        copies = {place.copy for place in found.values()}
        for folder in sorted(path.parent for path in (root / KEPT).glob(f"[!.]*/{storage.CATALOGUE}")):
            if folder not in copies:
                found.setdefault(f"{KEPT}/{folder.name}", Place(folder))
        for folder in sorted(path.parent for path in root.glob(f"[!.]*/directions/{storage.CATALOGUE}")):
            found.setdefault(f"run/{folder.parent.name}", Place(folder))
        return {name: place for name, place in found.items() if name == self.first or self._fits(place.current)}

    def _placed(self, name: str, folder: Path | None) -> Place:
        if folder is not None and not folder.resolve().is_relative_to(ASSETS.resolve()) and os.access(folder, os.W_OK):
            return Place(folder)
        return Place(folder, runs_root() / KEPT / f"{name}-{self.fingerprints[0][:8]}")

    def names(self) -> list[str]:
        """The names, the opened catalogue's first."""
        return list(self.places())

    def place(self, name: str | None) -> Place:
        """Where the catalogue ``name`` lies, by default the opened one; :class:`LanternError` if there is none of that name."""
        places = self.places()
        check_choice("catalogue", name or self.first, tuple(places))
        return places[name or self.first]

    def catalogue(self, name: str | None = None) -> Catalogue:
        """The catalogue ``name`` as it is now; errors as of :meth:`place`, or if it is broken."""
        own = not name or name == self.first
        # The other folders are not looked at for the opened one: every picture asks for it.
        folder = (self._placed(self.first, self._folder) if own else self.place(name)).current
        read = self.opened if folder is None else self._load(folder)
        return self.opened if read is None else read

    def is_plain(self, name: str | None) -> bool:
        """Whether commands that are not told of a catalogue take the one of that ``name``, as it is now."""
        return self._by_default and name in (None, "", self.first) and self.place(name).current == self._folder

    def _load(self, folder: Path) -> Catalogue:
        state = _state(folder)
        with self._lock:
            known = self._read.get(folder)
        if known is not None and known[0] == state and known[1] is not None:
            return known[1]
        read = load_catalogue(folder)
        with self._lock:
            self._read[folder] = (state, read)
        return read

    def _fits(self, folder: Path | None) -> bool:
        if folder is None:
            return False
        try:
            state = _state(folder)
            with self._lock:
                known = self._read.get(folder)
            if known is not None and known[0] == state and known[1] is not None:
                return known[1].fingerprint in self.fingerprints
            return read_json(folder / storage.CATALOGUE).get("generator") in self.fingerprints
        except (LanternError, OSError, AttributeError):
            return False

    def writable(self, name: str | None = None) -> Path:
        """The folder to write the catalogue ``name`` in; a shipped one is copied for it first."""
        place = self.place(name)
        if place.current == place.target:
            return place.target
        try:
            if place.folder is None:
                create(place.target, self.opened, {})
            else:
                create(place.target, *gathered(place.folder))
        except LanternError:
            # Another process may have been quicker.
            if not (place.target / storage.CATALOGUE).exists():
                raise
        return place.target

    def update(self, name: str | None, change: Callable[[Catalogue], Catalogue], by: str = _BY) -> Catalogue:
        """Have ``change`` make another catalogue of ``name``, and write it; errors as of :func:`catalogue.update`."""
        return update(self.writable(name), change, by)

    def export(self, name: str | None, path: Path) -> Catalogue:
        """Write the catalogue ``name`` to the zip ``path``; errors as of :func:`export_zip`."""
        folder = self.place(name).current
        return export_zip(self.writable(name) if folder is None else folder, path)

    def take_in(self, path: Path, title: str) -> str:
        """Take over the catalogue in the zip ``path`` under a name made of ``title``; returns the name.

        Errors: :class:`LanternError` as of :func:`import_zip`, or if it is of another generator.
        """
        with self._staged() as staged:
            imported = import_zip(path, staged)
            self._check_owner(imported)
            return self._keep(staged, title)

    def merge(self, names: Sequence[str], title: str, config: CompareConfig) -> tuple[str, Merged]:
        """Keep the merged catalogue of those of ``names`` under a name made of ``title``; errors as of :func:`merge`."""
        parts, contents = [], dict[str, bytes]()
        for name in names:
            folder = self.place(name).current
            part, images = (self.opened, dict[str, bytes]()) if folder is None else gathered(folder)
            parts.append(part)
            contents |= images
        merged = merge(parts, config)
        with self._staged() as staged:
            create(staged, merged.catalogue, contents)
            return self._keep(staged, title), merged

    def _staged(self) -> _Staged:
        return _Staged(runs_root() / KEPT)

    def _check_owner(self, catalogue: Catalogue) -> None:
        told = catalogue.fingerprint or "no generator yet"
        remedy = (
            "Open the page with that generator. If it is of none yet: python -m explorer catalogue import FILE.zip --out DIR, "
            "then python -m explorer import DIR --out DIR --generator NAME_OR_FILE"
        )
        fits = catalogue.fingerprint in self.fingerprints
        require(fits, f"the catalogue was made for the generator {told}, not for {self.fingerprints[0]}", remedy)

    def _keep(self, staged: Path, title: str) -> str:
        root = runs_root() / KEPT
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", title).strip("-.")[:48] or "catalogue"
        names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
        for name in names:
            if _NAME.fullmatch(name) and not (root / name).exists():
                try:
                    staged.rename(root / name)
                except OSError:
                    continue
                return f"{KEPT}/{name}"
        raise LanternError(f"there are too many catalogues named {stem}", "Choose another name.")


class _Staged:
    """A folder beside the kept catalogues, hidden, that goes again unless it was renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Path:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        except OSError as error:
            problem = f"the folder {self.root} cannot be written ({error.strerror or error})"
            raise LanternError(problem, "Name another one with LANTERN_RUNS, and start the page again.") from error
        return self.folder / "catalogue"

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _state(folder: Path) -> tuple[int, int, int]:
    try:
        stat = (folder / storage.CATALOGUE).stat()
    except OSError as error:
        raise LanternError(f"the catalogue {folder} is gone", "Choose another one.") from error
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
