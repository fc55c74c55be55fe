from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from explorer.weights.download import DownloadConfig
from explorer.weights.installing import install
from explorer.weights.known import KNOWN
from explorer.weights.store import first_use, installed, record_of, remove, verify
from segmentation.errors import LanternError
from tests.explorer.weights.conftest import latent_codes
from tests.explorer.weights.server import Answer, FileServer
from tests.explorer.weights.test_checks import FIXTURES, module_in

EAGER = DownloadConfig(attempts=2, wait=0)
CUB = "embeddings-cub"
ROOT = Path(__file__).parents[3]


def files_in(folder: Path) -> set[str]:
    """Every file of ``folder`` but for the lock and the records."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if name not in ("lock", "record.json", "first-use.json")}


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_download_is_installed_and_written_down(server: FileServer, home: Path) -> None:
    assert installed(CUB) is None
    path = install(CUB, url=server.url, config=EAGER)
    assert installed(CUB) == path
    assert path.name == "BigBiGAN_CUB_train_z.npy"
    assert path.read_bytes() == server.content
    record = record_of(CUB)
    assert record is not None
    assert (record.description, record.source) == ("3,000 latent codes of 120 numbers", server.url)
    assert record.sha256 == record.digest == checksum(server.content)
    assert files_in(home / "weights" / CUB) == {f"{record.sha256[:16]}/{path.name}"}
    recorded = first_use(CUB)
    assert recorded is not None
    assert (recorded.sha256, recorded.source) == (record.sha256, server.url)


def test_what_is_installed_is_not_fetched_again_unless_asked(server: FileServer) -> None:
    path = install(CUB, url=server.url, config=EAGER)
    assert install(CUB, config=EAGER) == path
    assert install(CUB, sha256=checksum(server.content), config=EAGER) == path
    assert len(server.asked) == 1
    assert install(CUB, url=server.url, config=EAGER) == path
    assert len(server.asked) == 2


def test_the_known_address_is_used(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, CUB, dataclasses.replace(KNOWN[CUB], address=server.url))
    assert install("BigBiGAN_CUB_train_z.npy", config=EAGER).read_bytes() == server.content


def test_a_wrong_file_is_kept_away_and_named(server: FileServer, home: Path) -> None:
    path = install(CUB, url=server.url, config=EAGER)
    before = path.read_bytes()
    server.content, server.etag = b"no array at all", '"wrong"'
    with pytest.raises(LanternError) as caught:
        install(CUB, url=server.url, sha256=checksum(server.content), config=EAGER)
    refused = home / "weights" / CUB / "refused" / path.name
    assert refused.read_bytes() == server.content
    assert f"What came is kept as {refused}" in caught.value.remedy
    assert caught.value.problem.startswith(f"{server.url} is not {path.name}: it is not a .npy array")
    assert installed(CUB) == path
    assert path.read_bytes() == before
    assert files_in(home / "weights" / CUB) == {path.relative_to(home / "weights" / CUB).as_posix(), f"refused/{path.name}"}


def test_after_a_wrong_file_the_next_attempt_begins_anew(server: FileServer) -> None:
    right, server.content = server.content, b"no array at all"
    with pytest.raises(LanternError):
        install(CUB, url=server.url, config=EAGER)
    server.content = right
    assert install(CUB, url=server.url, config=EAGER).read_bytes() == right
    assert server.ranges == [None, None]


def test_a_length_announced_too_short_is_found_out(server: FileServer) -> None:
    server.answers = [Answer(promise=1000)]
    with pytest.raises(LanternError, match="cut short"):
        install(CUB, url=server.url, config=EAGER)
    assert installed(CUB) is None
    assert first_use(CUB) is None


def test_another_version_than_at_first_use_is_refused_until_it_is_trusted(server: FileServer) -> None:
    first = server.content
    install(CUB, url=server.url, config=EAGER)
    assert remove(CUB)
    assert installed(CUB) is None
    server.content, server.etag = latent_codes(seed=1), '"two"'
    with pytest.raises(LanternError) as caught:
        install(CUB, url=server.url, config=EAGER)
    assert f"has the checksum {checksum(server.content)} instead of {checksum(first)}, recorded on" in caught.value.problem
    assert f"--sha256 {checksum(server.content)}" in caught.value.remedy
    assert installed(CUB) is None
    path = install(CUB, url=server.url, sha256=checksum(server.content).upper(), config=EAGER)
    assert path.read_bytes() == server.content
    recorded = first_use(CUB)
    assert recorded is not None
    assert recorded.sha256 == checksum(server.content)


def test_a_published_checksum_or_size_decides(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, CUB, dataclasses.replace(KNOWN[CUB], sha256="0" * 64))
    with pytest.raises(LanternError, match=f"has the checksum {checksum(server.content)} instead of {'0' * 64};?"):
        install(CUB, url=server.url, config=EAGER)
    monkeypatch.setitem(KNOWN, CUB, dataclasses.replace(KNOWN[CUB], sha256=None, size=7))
    with pytest.raises(LanternError, match="has 1,440,128 bytes instead of 7"):
        install(CUB, url=server.url, config=EAGER)
    known = dataclasses.replace(KNOWN[CUB], sha256=checksum(server.content), size=len(server.content))
    monkeypatch.setitem(KNOWN, CUB, known)
    assert install(CUB, url=server.url, config=EAGER).is_file()


def test_a_local_copy_is_installed_and_stays_where_it_was(tmp_path: Path) -> None:
    torch.save(torch.ones(120), tmp_path / "mine.pth")
    path = install("bg-direction", tmp_path / "mine.pth")
    assert path.name == "bg_direction.pth"
    assert path.read_bytes() == (tmp_path / "mine.pth").read_bytes()
    record = record_of("bg-direction")
    assert record is not None
    assert record.source == str(tmp_path / "mine.pth")


def test_a_wrong_local_copy_leaves_nothing_behind(tmp_path: Path, home: Path) -> None:
    torch.save(torch.ones(119), tmp_path / "mine.pth")
    with pytest.raises(LanternError, match=r"mine.pth is not bg_direction.pth: it is not one tensor of 120 numbers"):
        install("bg-direction", tmp_path / "mine.pth")
    assert files_in(home / "weights" / "bg-direction") == set()
    assert (tmp_path / "mine.pth").exists()


def test_bigbigan_comes_ported_or_converted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    from explorer.generators.bigbigan import load_bigbigan, save_bigbigan

    with pytest.raises(LanternError, match="of width 4, the published one of width 96"):
        install("bigbigan", FIXTURES / "bigbigan_ch4.pth")
    monkeypatch.setitem(KNOWN, "bigbigan", dataclasses.replace(KNOWN["bigbigan"], width=4))
    ported = install("bigbigan", FIXTURES / "bigbigan_ch4.pth")
    save_bigbigan(torch.load(ported, weights_only=True), tmp_path / "own.safetensors")
    first = load_bigbigan(ported).fingerprint
    # A conversion has bytes of its own: the checksum of the ported file does not bind it.
    converted = install("bigbigan", tmp_path / "own.safetensors")
    assert converted.name == "own.safetensors"
    assert installed("bigbigan") == converted
    assert load_bigbigan(converted).fingerprint == first
    assert files_in(home / "weights" / "bigbigan") == {f"{converted.parent.name}/own.safetensors"}
    recorded = first_use("bigbigan")
    assert recorded is not None
    assert recorded.source == str(FIXTURES / "bigbigan_ch4.pth")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("way", ["folder", "archive", "download"])
def test_a_module_is_installed_as_a_folder(server: FileServer, tmp_path: Path, way: str, wrapped: bool) -> None:
    folder = module_in(tmp_path / "module")
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, "bigbigan" if wrapped else ".")
    server.content = archive.read_bytes()
    name = "bigbigan-resnet50"
    sources = {"folder": {"file": folder}, "archive": {"file": archive}, "download": {"url": server.url}}
    path = install(name, config=EAGER, **sources[way])  # type: ignore[arg-type]
    assert files_in(path) == files_in(folder)
    assert (path / "variables" / "variables.index").read_bytes() == b"index"
    assert installed(name) == verify(name) == path
    assert (first_use(name) is None) == (way == "folder")
    (path / "variables" / "variables.index").write_bytes(b"xedni")
    with pytest.raises(LanternError, match="is no longer what was installed"):
        verify(name)


@pytest.mark.parametrize("name", ["../outside", "link"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str, home: Path) -> None:
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(module_in(tmp_path / "module"), ".")
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        packed.addfile(member, io.BytesIO())
    with pytest.raises(LanternError, match="cannot be unpacked"):
        install("bigbigan-resnet50", archive)
    assert not list(home.rglob("outside"))
    assert installed("bigbigan-resnet50") is None


def test_a_name_from_the_root_stays_inside(tmp_path: Path) -> None:
    archive = tmp_path / "module.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(module_in(tmp_path / "module"), ".")
        packed.addfile(tarfile.TarInfo(str(tmp_path / "outside")), io.BytesIO())
    assert install("bigbigan-resnet50", archive).is_dir()
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_is_none_or_cut_short(server: FileServer, tmp_path: Path, home: Path) -> None:
    archive = tmp_path / "module.tar.gz"
    folder = module_in(tmp_path / "module")
    (folder / "variables" / "noise").write_bytes(os.urandom(100_000))
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, ".")
    for content in (b"nothing", archive.read_bytes()[:60_000]):
        server.content = content
        with pytest.raises(LanternError, match="cannot be unpacked.*What came is kept as"):
            install("bigbigan-revnet50x4", url=server.url, config=EAGER)
        assert files_in(home / "weights" / "bigbigan-revnet50x4") == {"refused/bigbigan-revnet50x4_1.tar.gz"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "stylegan"}, "no weights named 'stylegan'. Choose one of: bigbigan, bigbigan-resnet50"),
        ({"name": "unet-cub"}, "where u_net_cub2002011.pth .unet-cub. can be downloaded is not known. Give its address"),
        ({"name": CUB, "url": "ftp://host/a.npy"}, "'ftp://host/a.npy' is no web address"),
        ({"name": CUB, "url": "https:///a.npy"}, "is no web address"),
        ({"name": CUB, "url": "https://host/a", "file": Path("a")}, "both a file and an address"),
        ({"name": CUB, "sha256": "123"}, "'123' is no SHA-256 checksum"),
        ({"name": CUB, "file": Path("missing.npy")}, "missing.npy does not exist"),
        ({"name": CUB, "file": ROOT / "README.md"}, "README.md cannot be BigBiGAN_CUB_train_z.npy. Give a file ending in .npy"),
        ({"name": CUB, "file": ROOT / "tests"}, "tests cannot be BigBiGAN_CUB_train_z.npy"),
        ({"name": "bigbigan-resnet50", "file": ROOT / "tests", "sha256": "0" * 64}, "a folder, which has no checksum"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments: dict, said: str, home: Path) -> None:
    with pytest.raises(LanternError, match=said):
        install(**arguments)
    assert not list(home.glob("weights/*/*-*")) and not list(home.glob("weights/*/record.json"))


INSTALL = """
import sys
from explorer.__main__ import exit_code
from explorer.weights.installing import install
sys.exit(exit_code(lambda: print(install(sys.argv[1], url=sys.argv[2]))))
"""


def start(name: str, url: str) -> subprocess.Popen[str]:
    """Another process that installs ``name`` from ``url``."""
    command = [sys.executable, "-c", INSTALL, name, url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_part(home: Path) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        parts = [path for path in home.glob(f"weights/{CUB}/partial/*/*.npy") if path.stat().st_size > 0]
        if parts:
            return parts[0]
        time.sleep(0.01)
    raise AssertionError("nothing came")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_is_taken_up_where_it_was(server: FileServer, home: Path, how: signal.Signals) -> None:
    release = threading.Event()
    server.answers = [Answer(stall=release)]
    half = len(server.content) // 2
    process = start(CUB, server.url)
    part = wait_for_part(home)
    while part.stat().st_size < half:
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    release.set()
    assert installed(CUB) is None
    assert install(CUB, url=server.url, config=EAGER).read_bytes() == server.content
    assert server.ranges == [None, f"bytes={half}-"]


def test_while_one_process_installs_another_is_told_so(server: FileServer, home: Path) -> None:
    release = threading.Event()
    server.answers = [Answer(stall=release)]
    process = start(CUB, server.url)
    wait_for_part(home)
    for act in (partial(install, CUB, url=server.url, config=EAGER), partial(remove, CUB)):
        with pytest.raises(LanternError, match=f"is being written by process {process.pid}. Wait until it is done"):
            act()
    release.set()
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert Path(said.strip()) == installed(CUB)
    assert len(server.asked) == 1


def test_many_processes_at_once_leave_one_whole_file(server: FileServer, home: Path) -> None:
    processes = [start(CUB, server.url) for _ in range(3)]
    ended = [process.communicate(timeout=60) for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes and set(codes) <= {0, 2}, ended
    path = verify(CUB)
    assert path is not None
    assert path.read_bytes() == server.content
    assert len(files_in(home / "weights" / CUB)) == 1
