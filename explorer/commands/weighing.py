"""The command that looks after published weights on this machine: weights."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated

import tyro
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from explorer.commands.options import Flat
from explorer.weights.download import DownloadConfig
from explorer.weights.installing import install
from explorer.weights.known import ARCHIVE, KNOWN, Known, find
from explorer.weights.store import first_use, home, installed, record_of, remove, verify
from segmentation.errors import LanternError, require

_NOT_TRIED = "whether it answers has not been tried"


def weights(
    options: Annotated[DownloadConfig, Flat],
    install: str | None = None,
    from_file: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    url: str | None = None,
    sha256: str | None = None,
    remove: str | None = None,
    verify: bool = False,
) -> None:
    """Published weights: what is known of them, what is installed and where. Without an option: list them.

    They lie in the folder that LANTERN_HOME names, by default in the user's cache folder.

    Args:
        options: how patient a download is.
        install: the weights to install, by name: from their known address, or from --url or --from.
        from_file: a local copy to install.
        url: where to download from, if the address is unknown or a mirror is wanted.
        sha256: the checksum that the file has to have.
        remove: the weights to remove, by name.
        verify: read what is installed and compare it with what is recorded.
    """
    asked = [word for word, given in (("--install", install), ("--remove", remove), ("--verify", verify)) if given]
    require(len(asked) < 2, f"{' and '.join(asked)} are given together", "Give one of them.")
    details = [word for word, given in (("--from", from_file), ("--url", url), ("--sha256", sha256)) if given is not None]
    require(not details or install is not None, f"{', '.join(details)} alone says nothing", "Add --install NAME.")
    if install is not None:
        _install(install, from_file, url, sha256, options)
    elif remove is not None:
        _remove(remove)
    elif verify:
        _verify()
    else:
        _list()


def _install(name: str, file: Path | None, url: str | None, sha256: str | None, config: DownloadConfig) -> None:
    name, known = find(name)
    with _Bar(known.file) as bar:
        path = install(name, file, url, sha256, config, bar)
    record = record_of(name)
    print(f"{name}: {record.description if record else known.what}; {path}")


def _remove(name: str) -> None:
    name, _ = find(name)
    print(f"{name}: {'removed' if remove(name) else 'nothing to remove'}")


def _verify() -> None:
    faults = []
    for name in KNOWN:
        try:
            if path := verify(name):
                print(f"{name}: unchanged; {path}")
        except LanternError as error:
            print(f"{name}: {error.problem}")
            faults.append(name)
    remedy = "Install them again: python -m explorer weights --install NAME"
    require(not faults, f"not as they were installed: {', '.join(faults)}", remedy)


def _list() -> None:
    print(f"weights are kept in {home() / 'weights'} (LANTERN_HOME names another place)")
    for name, known in KNOWN.items():
        print(f"\n{name}: {_state(name)}")
        for title, text in _facts(name, known):
            print(f"  {title:<9} {text}")
    print(f"\nAn archive of embeddings, generator and segmenters is named in a README of the authors' code: {ARCHIVE}")
    print("It can be unpacked by hand, and each file installed with --install NAME --from FILE.")


def _state(name: str) -> str:
    try:
        record = record_of(name)
        path = installed(name)
    except LanternError as error:
        return f"broken: {error}"
    if record is None or path is None:
        return "not installed"
    return f"installed, {path} ({record.description}, {decimal(record.bytes)})"


def _facts(name: str, known: Known) -> list[tuple[str, str]]:
    address = "unknown" if known.address is None else f"{known.address} ({_NOT_TRIED})"
    facts = [("what", known.what), ("file", known.file), ("from", address), ("named by", known.named_by)]
    facts += [("copy", f"{mirror} (by others; for --url)") for mirror in known.mirrors]
    facts += [("size", decimal(known.size) if known.size is not None else known.size_note), ("licence", known.licence)]
    return [*facts, ("sha256", _checksum(name, known))]


def _checksum(name: str, known: Known) -> str:
    if known.sha256 is not None:
        return f"{known.sha256}, as published"
    try:
        recorded = first_use(name)
    except LanternError as error:
        return f"unknown; {error}"
    if recorded is None:
        return "unknown; recorded at the first installation, required from then on"
    return f"{recorded.sha256}, recorded on {recorded.day} from {recorded.source}"


class _Bar:
    """Shows a download on standard error: a bar, the speed, the time left."""

    def __init__(self, title: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._task: TaskID | None = None
        self._title, self._done = title, 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def moved(self, done: int, total: int | None) -> None:
        """Move the bar; where it begins, and where it goes back, the time left is reckoned anew."""
        if self._task is None:
            self._task = self._progress.add_task(self._title, total=total, completed=done)
        elif done <= self._done:
            self._progress.reset(self._task, total=total, completed=done)
        else:
            self._progress.update(self._task, total=total, completed=done)
        self._done = done

    def note(self, text: str) -> None:
        """Print the line."""
        self._progress.console.print(text, markup=False)
