"""Make ``.venv`` and install the requirements into it: what ``make run`` and ``make test`` do first.

    python3 tools/environment.py [requirements-dev.txt ...]

``requirements.txt`` is always among them. Uses the standard library alone, and needs neither pip nor Debian's
``python3-venv``: without them it fetches pip from the package index. A second call with nothing to do returns at once.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib
import os
import queue
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

ROOT = Path(__file__).resolve().parent.parent
MAIN = "requirements.txt"
PYTHONS = ((3, 10), (3, 12))
DEFAULT_INDEX = "https://pypi.org/simple"
LARGE_MEGABYTES = 20.0
UNPACKING = "Installing collected packages:"


class EnvironmentProblem(Exception):
    """What keeps the environment from being made (``problem``), and what to do about it (``remedy``)."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")


def check_python(version: tuple[int, int]) -> None:
    """Raise :class:`EnvironmentProblem` unless Python ``version`` (major, minor) is one that the requirements support."""
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        raise EnvironmentProblem(
            f"Python {version[0]}.{version[1]} will not do: 3.10, 3.11 or 3.12 is needed",
            "Name one that will: make run PYTHON=python3.12",
        )


class Stamps:
    """Which requirements are installed in an environment, kept inside it (``.venv/lantern/``)."""

    def __init__(self, environment: Path) -> None:
        self.folder = environment / "lantern"
        self.unpacking = self.folder / "unpacking"
        self.log = self.folder / "install.log"

    def key(self, requirements: Path) -> str:
        """What the stamp of ``requirements`` must hold: it depends on the Python, the file, and the main file beside it."""
        digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
        for path in (requirements.with_name(MAIN), requirements):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def stale(self, files: list[Path]) -> list[Path]:
        """Those of ``files`` that are not installed as they stand."""
        if self.unpacking.exists():
            return files
        stamps = {path: self.folder / f"{path.name}.sha256" for path in files}
        return [path for path, stamp in stamps.items() if not stamp.exists() or stamp.read_text() != self.key(path)]

    def finish(self, files: list[Path]) -> None:
        """Note that ``files`` are installed."""
        for path in files:
            (self.folder / f"{path.name}.sha256").write_text(self.key(path))
        self.unpacking.unlink(missing_ok=True)


def why_rebuild(environment: Path, stamps: Stamps) -> str | None:
    """Why ``environment`` has to be made afresh; None if it can be used."""
    python = environment / "bin" / "python"
    if not python.exists():
        return "there is none"
    if stamps.unpacking.exists():
        return "the last install was interrupted"
    answer = _run(python, "-c", "import pip, sys; print(*sys.version_info[:2], sep='.')")
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if answer.returncode != 0:
        return "its Python does not start, or has no pip"
    return None if answer.stdout.strip() == wanted else f"it has Python {answer.stdout.strip()}, not {wanted}"


def create(environment: Path, stamps: Stamps) -> None:
    """Make ``environment`` afresh, with pip in it; removes what stood there if it was made here."""
    try:
        venv = importlib.import_module("venv")
    except ImportError as error:
        raise EnvironmentProblem("this Python has no venv module", "On Debian: apt install python3-venv") from error
    if environment.exists() and not stamps.folder.is_dir():
        raise EnvironmentProblem(
            f"{environment} was made by something else and cannot be used as it is", "Move it away, or remove it, and try again"
        )
    shutil.rmtree(environment, ignore_errors=True)
    stamps.folder.mkdir(parents=True)
    venv.EnvBuilder(symlinks=True).create(environment)
    python = environment / "bin" / "python"
    if _run(python, "-m", "ensurepip", "--upgrade").returncode != 0:
        print("This Python comes without ensurepip; fetching pip from the package index.", flush=True)
        fetch_pip(python, stamps.folder)


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), *arguments], capture_output=True, text=True, env=_environment(), check=False)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET")}
    return {**kept, "PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def pip_setting(name: str) -> str | None:
    """A setting of pip (``index-url``, ``cert``) from where pip looks too: its variables, then its files."""
    if value := os.environ.get("PIP_" + name.upper().replace("-", "_")):
        return value
    home = Path.home()
    own = Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"), "pip", "pip.conf")
    for place in (Path(os.environ.get("PIP_CONFIG_FILE", os.devnull)), own, home / ".pip" / "pip.conf", Path("/etc/pip.conf")):
        parser = configparser.RawConfigParser()
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            if value := parser.get(section, name, fallback="").strip():
                return value
    return None


class PipWheels(HTMLParser):
    """The wheels of pip on the index's page (PEP 503): ``found`` maps a version to (address with its hash, Python wanted)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[int, ...], tuple[str, str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link to a wheel of a released version."""
        values = dict(attrs)
        address = values.get("href") or ""
        name = re.search(r"/?pip-(\d+(?:\.\d+)*)-py3-none-any\.whl$", urlsplit(address).path)
        if tag == "a" and name and "data-yanked" not in values:
            version = tuple(int(part) for part in name[1].split("."))
            self.found[version] = (address, values.get("data-requires-python") or "")


def newest_pip(page: str, minor: int) -> tuple[str, str]:
    """The newest pip on the index's ``page`` that runs on Python 3.``minor``: its address there, and its SHA-256."""
    wheels = PipWheels()
    wheels.feed(page)
    for version in sorted(wheels.found, reverse=True):
        address, wanted = wheels.found[version]
        least = re.search(r">=\s*3\.(\d+)", wanted)
        if least and int(least[1]) > minor:
            continue
        bare, fragment = urldefrag(address)
        if sha256 := re.fullmatch(r"sha256=([0-9a-f]{64})", fragment):
            return bare, sha256[1]
    raise EnvironmentProblem("the package index lists no pip with a SHA-256 for this Python", _VENV_REMEDY)


_VENV_REMEDY = "Install what brings pip along (Debian: apt install python3-venv ca-certificates), and try again."


def download(address: str) -> bytes:
    """What is at ``address``, with the certificates and proxies that pip would use."""
    try:
        trust = ssl.create_default_context(cafile=pip_setting("cert"))
        with urllib.request.urlopen(address, timeout=60, context=trust) as answer:
            data: bytes = answer.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise EnvironmentProblem(f"cannot fetch {address}: {reason}", _VENV_REMEDY) from error
    return data


def fetch_pip(python: Path, folder: Path) -> None:
    """Install pip into ``python``'s environment from the index's wheel, which is checked and kept in ``folder`` meanwhile."""
    page_address = (pip_setting("index-url") or DEFAULT_INDEX).rstrip("/") + "/pip/"
    page = download(page_address).decode("utf-8", "replace")
    address, sha256 = newest_pip(page, sys.version_info[1])
    address = urljoin(page_address, address)
    wheel = folder / urlsplit(address).path.rsplit("/", 1)[1]
    data = download(address)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise EnvironmentProblem(f"{address} does not have the SHA-256 that the index gives for it", _VENV_REMEDY)
    wheel.write_bytes(data)
    answer = _run(python, f"{wheel}/pip", "install", "--no-index", str(wheel))
    wheel.unlink()
    if answer.returncode != 0:
        raise EnvironmentProblem(f"pip does not install itself: {answer.stdout}{answer.stderr}".strip(), _VENV_REMEDY)


def install(python: Path, files: list[Path], stamps: Stamps) -> None:
    """Run ``pip install`` for ``files``, all that pip says to the log and the gist of it to the terminal.

    Whatever fails before pip unpacks leaves the environment as it was; an interrupted unpacking leaves its note.
    """
    command = [str(python), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    for path in files:
        command += ["-r", str(path)]
    names = ", ".join(path.name for path in files)
    print(f"Installing {names} (some minutes the first time; log: {stamps.log})", flush=True)
    tail: deque[str] = deque(maxlen=15)
    with stamps.log.open("w", encoding="utf-8") as out, Ticker() as ticker:
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=_environment()
        )
        for line in pip.stdout or ():
            if line.startswith(UNPACKING):
                stamps.unpacking.touch()
            out.write(line)
            tail.append(line)
            ticker.lines.put(line)
        pip.wait()
    if pip.returncode != 0:
        raise EnvironmentProblem(
            f"pip failed:\n{''.join(tail).rstrip()}\n\nIt ended with status {pip.returncode}",
            f"Are the network and some gigabytes of disk there? The whole log: {stamps.log}. The same command tries again.",
        )


class Ticker:
    """Tells how an install goes: on a terminal one line rewritten every second, elsewhere a line for each large download."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Ticker:
        """Begin."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and leave the cursor on a fresh line."""
        self.lines.put(None)
        self.thread.join()

    def _show(self) -> None:
        began, now_at, terminal = time.monotonic(), "Asking the package index", sys.stdout.isatty()
        width = shutil.get_terminal_size().columns - 1
        while True:
            try:
                line = self.lines.get(timeout=1)
            except queue.Empty:
                line = ""
            if line is None:
                print("\r\033[K" if terminal else "", end="", flush=True)
                return
            said = gist(line)
            now_at = said or now_at
            if terminal:
                print("\r\033[K" + f"{time.monotonic() - began:4.0f} s  {now_at}"[:width], end="", flush=True)
            elif said and is_landmark(said):
                print(f"{time.monotonic() - began:4.0f} s  {said}", flush=True)


def gist(line: str) -> str:
    """What of a line of pip's is worth showing: what it looks for, downloads and installs; else nothing."""
    words = line.strip()
    if words.startswith(UNPACKING):
        return f"Unpacking {words.count(',') + 1} packages"
    return words if words.startswith(("Collecting ", "Downloading ", "Building ")) else ""


def is_landmark(said: str) -> bool:
    """Whether a gist is worth a line of its own: the large downloads, and the unpacking."""
    size = re.search(r"\((\d+(?:\.\d+)?) (MB|GB)\)", said)
    large = size is not None and (size[2] == "GB" or float(size[1]) >= LARGE_MEGABYTES)
    return large or said.startswith("Unpacking")


def main(names: list[str]) -> None:
    """Bring ``.venv`` up to the requirements files of these names, and the main one."""
    check_python(sys.version_info[:2])
    environment = ROOT / ".venv"
    stamps = Stamps(environment)
    files = [ROOT / name for name in dict.fromkeys([MAIN, *names])]
    for missing in (path for path in files if not path.is_file()):
        raise EnvironmentProblem(f"{missing} is missing", "Get it back with git, or name another file")
    if (environment / "bin" / "python").exists() and not stamps.stale(files):
        return
    if why := why_rebuild(environment, stamps):
        print(f"Making .venv with Python {sys.version.split()[0]} ({why}).", flush=True)
        create(environment, stamps)
    stamps.folder.mkdir(exist_ok=True)
    install(environment / "bin" / "python", files, stamps)
    stamps.finish(files)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EnvironmentProblem as problem:
        sys.exit(f"{problem}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the next run begins the installation again.")
