from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.directions import exchange, storage
from explorer.directions.catalogue import load_catalogue, update
from explorer.directions.exchange import export_zip, import_zip
from explorer.directions.thumbnails import MAX_BYTES, put_thumbnails
from segmentation.errors import LanternError
from segmentation.tensors import save_tensors
from tests.explorer.directions.catalogues import image_bytes, seeded_catalogue, with_thumbnails

Members = dict[str, bytes]


class Payload:
    """What a pickle does when it is read: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalogue and its zip."""
    folder = tmp_path_factory.mktemp("made")
    seeded_catalogue().save(folder / "catalogue")
    with_thumbnails(folder / "catalogue", 1, 4)
    export_zip(folder / "catalogue", folder / "good.zip")
    return folder


@pytest.fixture
def exported(tmp_path: Path, made: Path) -> Path:
    """The zip of the catalogue in the folder ``catalogue`` beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "good.zip"


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, members: Members, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def described(members: Members, change: Callable[[dict[str, Any]], object]) -> Members:
    """The members with another ``catalogue.json``."""
    value = json.loads(members["catalogue.json"])
    change(value)
    return {**members, "catalogue.json": json.dumps(value).encode()}


def refused(path: Path, folder: Path, words: str) -> None:
    """That the zip is refused, and nothing is written anywhere near."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(LanternError, match=words):
        import_zip(path, folder)
    assert sorted(folder.parent.rglob("*")) == before


def test_a_catalogue_comes_back_from_its_zip(tmp_path: Path, exported: Path) -> None:
    before = load_catalogue(tmp_path / "catalogue")
    after = import_zip(exported, tmp_path / "deep" / "again")
    assert after.entries == before.entries and torch.equal(after.directions, before.directions)
    assert (after.source, after.fingerprint, after.provenance) == (before.source, before.fingerprint, before.provenance)
    names = {entry.thumbnail for entry in after.entries} - {""}
    assert len(names) == 2
    for name in names:
        assert (tmp_path / "deep" / "again" / name).read_bytes() == (tmp_path / "catalogue" / name).read_bytes()
    assert {path.name for path in (tmp_path / "deep" / "again").iterdir()} == names | {storage.CATALOGUE, storage.DIRECTIONS}
    export_zip(tmp_path / "deep" / "again", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == exported.read_bytes()


def test_a_zip_made_by_hand_of_a_folder_is_taken(tmp_path: Path, exported: Path) -> None:
    folder = tmp_path / "catalogue"
    other = seeded_catalogue(seed=1)
    other.save(folder)
    (versioned,) = folder.glob("directions-*.safetensors")
    pack(tmp_path / "hand.zip", {name: (folder / name).read_bytes() for name in ("catalogue.json", versioned.name)})
    assert torch.equal(import_zip(tmp_path / "hand.zip", tmp_path / "again").directions, other.directions)


def test_a_catalogue_is_not_replaced(tmp_path: Path, exported: Path) -> None:
    before = (tmp_path / "catalogue" / "catalogue.json").read_bytes()
    refused(exported, tmp_path / "catalogue", "there is a catalogue in .* already")
    assert (tmp_path / "catalogue" / "catalogue.json").read_bytes() == before
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "generator.safetensors").write_bytes(b"mine")
    import_zip(exported, tmp_path / "beside")
    assert (tmp_path / "beside" / "generator.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_an_import_that_fails_on_the_way_leaves_nothing(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The two thumbnails, the directions and catalogue.json are written in turn; at each of them the disk can be full."""
    real, left = Path.replace, [written]

    def replace(self: Path, target: Path) -> Path:
        if target.parent == tmp_path / "again":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    refused(exported, tmp_path / "again", "the disk is full")
    (tmp_path / "again").mkdir()
    left[0] = written
    refused(exported, tmp_path / "again", "the disk is full")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/tmp/evil.json", "an absolute path"),
        ("\\\\host\\evil", "an absolute path"),
        ("C:evil.png", "an absolute path"),
        ("../evil.png", "leads out of its folder"),
        ("a/../../evil.png", "leads out of its folder"),
        ("..\\evil.png", "leads out of its folder"),
        ("folder/", "no plain file"),
        ("folder/catalogue.json", "a file that no catalogue has"),
        ("./evil.png", "a file that no catalogue has"),
        (".evil.png", "a file that no catalogue has"),
        ("readme.txt", "a file that no catalogue has"),
        ("catalogue.lock", "a file that no catalogue has"),
        ("model.pkl", "a file that no catalogue has"),
        ("model.pth", "a file that no catalogue has"),
        ("x" * 81 + ".png", "a file that no catalogue has"),
        ("evil.svg", "a file that no catalogue has"),
        ("directions-0123456789abcdef.safetensors", "one file of directions"),
        ("CATALOGUE.json", "a file that no catalogue has"),
        ("evil.png", r"not those of its catalogue \(evil.png\)"),
    ],
)
def test_files_that_no_catalogue_has_are_refused(tmp_path: Path, exported: Path, name: str, words: str) -> None:
    refused(pack(tmp_path / "bad.zip", {**members_of(exported), name: image_bytes()}), tmp_path / "out", words)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, exported: Path, kind: int) -> None:
    members = members_of(exported)
    for linked in members:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = ((kind if name == linked else stat.S_IFREG) | 0o777) << 16
                archive.writestr(info, b"/etc/passwd" if name == linked else content)
        refused(tmp_path / "bad.zip", tmp_path / "out", "a link" if kind == stat.S_IFLNK else "no plain file")


@pytest.mark.parametrize("again", ["catalogue.json", "thumbnail", "THUMBNAIL"])
def test_a_name_twice_is_refused(tmp_path: Path, exported: Path, again: str) -> None:
    members = members_of(exported)
    thumbnail = next(name for name in members if name.endswith(".png"))
    name = {"thumbnail": thumbnail, "THUMBNAIL": thumbnail.replace("thumbnail", "THUMBNAIL")}.get(again, again)
    pack(tmp_path / "bad.zip", members)
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "bad.zip", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, members.get(name, image_bytes()))
    refused(tmp_path / "bad.zip", tmp_path / "out", "twice")


@pytest.mark.parametrize("missing", ["catalogue.json", "directions.safetensors", ".png"])
def test_a_zip_that_lacks_something_is_refused(tmp_path: Path, exported: Path, missing: str) -> None:
    members = {name: content for name, content in members_of(exported).items() if not name.endswith(missing)}
    words = "thumbnails in .* are not those" if missing == ".png" else "does not hold one catalogue.json and one file"
    refused(pack(tmp_path / "bad.zip", members), tmp_path / "out", words)


@pytest.mark.parametrize("name", ["catalogue.json", "directions.safetensors", ".png"])
@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_no_pickle_is_read_whatever_its_name(tmp_path: Path, exported: Path, name: str, how: str) -> None:
    stream, trap = io.BytesIO(), tmp_path / "sprung"
    if how == "pickle":
        stream.write(pickle.dumps(Payload(trap)))
    else:
        torch.save({"directions": Payload(trap)}, stream)
    members = {own: stream.getvalue() if own.endswith(name) else content for own, content in members_of(exported).items()}
    refused(pack(tmp_path / "bad.zip", members), tmp_path / "out", "no PNG image|not a safetensors file|not valid JSON")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists()


@pytest.mark.parametrize("name", ["catalogue.json", "directions.safetensors", "thumbnail-0.png"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, exported: Path, name: str) -> None:
    members = {**members_of(exported), name: bytes(7 * 2**20)}
    assert pack(tmp_path / "bad.zip", members).stat().st_size < 50_000
    refused(tmp_path / "bad.zip", tmp_path / "out", "7,340,032 bytes packed into")


def test_what_is_too_large_is_refused(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = members_of(exported)
    pack(tmp_path / "bad.zip", {**members, "big.png": os.urandom(MAX_BYTES + 1)}, zipfile.ZIP_STORED)
    refused(tmp_path / "bad.zip", tmp_path / "out", "8,388,609 bytes, where 8,388,608 are the most")
    many = {f"{number}.png": b"" for number in range(exchange.MAX_MEMBERS)}
    pack(tmp_path / "bad.zip", {**members, **many}, zipfile.ZIP_STORED)
    refused(tmp_path / "bad.zip", tmp_path / "out", "holds 4,102 files")
    pack(tmp_path / "bad.zip", {**members, "wide.png": image_bytes(size=(20_000, 1000))})
    refused(tmp_path / "bad.zip", tmp_path / "out", "20000 x 1000")
    total = sum(map(len, members.values()))
    monkeypatch.setattr(exchange, "MAX_TOTAL", total - 1)
    refused(pack(tmp_path / "bad.zip", members), tmp_path / "out", f"holds {total:,} bytes")
    with pytest.raises(LanternError, match="bytes"):
        export_zip(tmp_path / "catalogue", tmp_path / "large.zip")
    assert not (tmp_path / "large.zip").exists()


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path: Path, exported: Path) -> None:
    """A PNG whose header says 100,000 x 100,000 and that ends there."""
    header = struct.pack(">2I5B", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    members = members_of(exported)
    name = next(name for name in members if name.endswith(".png"))
    refused(pack(tmp_path / "bad.zip", {**members, name: bomb}), tmp_path / "out", "100000 x 100000|no PNG image")


def _patched(data: bytes, signature: bytes, offset: int, form: str, value: int) -> bytes:
    """The zip with a number in the last record of that signature replaced."""
    start = data.rindex(signature) + offset
    return data[:start] + struct.pack(form, value) + data[start + struct.calcsize(form) :]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "no zip, or it is cut short"),
    "text": (lambda data: b"no zip at all, but longer than the end of one", "no zip, or it is cut short"),
    "cut": (lambda data: data[:-100], "no zip, or it is cut short"),
    "comment": (lambda data: _patched(data, b"PK\5\6", 20, "<H", 4) + b"PK\5\6", "no zip|has a comment"),
    "before": (lambda data: b"#!/bin/sh\n" + data, "no plain zip"),
    "parts": (lambda data: _patched(data, b"PK\5\6", 4, "<H", 1), "no plain zip"),
    "count": (lambda data: _patched(data, b"PK\5\6", 10, "<H", 60_000), "no plain zip"),
    "listing": (lambda data: _patched(data, b"PK\5\6", 12, "<L", 2**31), "no plain zip"),
    "encrypted": (lambda data: _patched(data, b"PK\1\2", 8, "<H", 1), "which is encrypted"),
    "method": (lambda data: _patched(data, b"PK\1\2", 10, "<H", 12), "packed in an unusual way"),
    "shorter": (lambda data: _patched(data, b"PK\1\2", 24, "<L", 10), "not as long as it says|damaged"),
    "longer": (lambda data: _patched(data, b"PK\1\2", 24, "<L", 2**20), "not as long as it says|damaged"),
    "huge": (lambda data: _patched(data, b"PK\1\2", 24, "<L", 2**32 - 2), "where .* are the most"),
    "elsewhere": (lambda data: _patched(data, b"PK\1\2", 42, "<L", 2**30), "damaged"),
    "checksum": (lambda data: _patched(data, b"PK\1\2", 16, "<L", 7), "damaged"),
    "other name": (lambda data: data.replace(b"catalogue.json", b"readme.texts!", 1), "damaged"),
    "hidden end": (lambda data: data.replace(b"directions.safetensors", b"catalogue.json\0tensors"), "that no catalogue has"),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_is_refused(tmp_path: Path, exported: Path, how: str, kind: int) -> None:
    damage, words = DAMAGE[how]
    path = pack(tmp_path / "bad.zip", members_of(exported), kind)
    path.write_bytes(damage(path.read_bytes()))
    refused(path, tmp_path / "out", words)


def test_a_zip_of_the_64_bit_form_is_refused(tmp_path: Path, exported: Path) -> None:
    """Its end can say another thing than the plain one that is looked at."""
    data = exported.read_bytes()
    at = len(data) - 22
    size, offset = struct.unpack("<2L", data[at + 12 : at + 20])
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 9**9, 9**9, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 4, 4, size + len(wide) + 20, offset, 0)
    (tmp_path / "bad.zip").write_bytes(data[:at] + wide + locator + end)
    refused(tmp_path / "bad.zip", tmp_path / "out", "no plain zip")


CONTENT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown field": (lambda value: value["entries"][0].update(run="rm"), "Entry has no run"),
    "status": (lambda value: value["entries"][0].update(status="evil"), "status is 'evil'"),
    "sign": (lambda value: value["entries"][0].update(sign=[1]), "sign is"),
    "escape": (lambda value: value["entries"][0].update(label="\x1b[2J"), "label of direction 0 holds the control character"),
    "long": (lambda value: value["entries"][0].update(notes="x" * 10_001), "notes on direction 0 has 10,001"),
    "path": (lambda value: value["entries"][0].update(thumbnail="../../x.png"), "thumbnail is"),
    "history": (lambda value: value["entries"][0].update(history=[{"time": "now", "field": "x"}]), "time of a change"),
    "no history": (lambda value: value["entries"][0].update(history=5), "history is 5"),
    "source": (lambda value: value.update(source="\x1b[2J"), "source of the catalogue holds the control character"),
    "generator": (lambda value: value.update(generator="x" * 300), "generator of the catalogue has 300"),
    "fewer": (lambda value: value["entries"].pop(), "and 5 entries"),
    "none": (lambda value: value.update(entries=[]), "and 0 entries"),
    "number": (lambda value: value.update(entries=7), "is not a catalogue"),
    "words": (lambda value: value.update(entries="abcdef"), "Entry is not a JSON object"),
    "provenance": (lambda value: value.update(provenance="abc"), "is not a catalogue"),
    "file": (lambda value: value["directions"].update(file="../../secret.safetensors"), "names no file of directions"),
    "another": (lambda value: value["directions"].update(fingerprint="0" * 16), "is not the file that catalogue.json"),
    "no pair": (lambda value: value.update(directions=[1]), "names no file of directions"),
}


@pytest.mark.parametrize("how", CONTENT)
def test_what_is_no_proper_catalogue_is_refused(tmp_path: Path, exported: Path, how: str) -> None:
    change, words = CONTENT[how]
    refused(pack(tmp_path / "bad.zip", described(members_of(exported), change)), tmp_path / "out", words)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"entries": ' + "1" * 5000 + "}", "{", "\xff", "[]", "null", '{"a":1}'])
def test_json_that_is_none_is_refused(tmp_path: Path, exported: Path, text: str) -> None:
    members = {**members_of(exported), "catalogue.json": text.encode("latin-1")}
    refused(pack(tmp_path / "bad.zip", members), tmp_path / "out", "JSON|not a catalogue")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"other": torch.eye(6, 8)}, "holds no directions"),
        ({"directions": 2 * torch.eye(6, 8)}, "not of unit length"),
        ({"directions": torch.full((6, 8), float("nan"))}, "not of unit length"),
        ({"directions": torch.eye(6, 8).long()}, "directions of torch.int64"),
        ({"directions": torch.ones(6)}, "directions of shape"),
    ],
)
def test_directions_that_are_none_are_refused(
    tmp_path: Path, exported: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    save_tensors(tmp_path / "evil.safetensors", tensors, {})
    members = described(members_of(exported), lambda value: value.pop("directions"))
    members["directions.safetensors"] = (tmp_path / "evil.safetensors").read_bytes()
    refused(pack(tmp_path / "bad.zip", members), tmp_path / "out", words)


def test_errors_name_the_zip_and_not_a_temporary_folder(tmp_path: Path, exported: Path) -> None:
    members = {**members_of(exported), "catalogue.json": b"{"}
    with pytest.raises(LanternError) as caught:
        import_zip(pack(tmp_path / "bad.zip", members), tmp_path / "out")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.zip'}/catalogue.json is not valid JSON")


def test_only_a_zip_is_written_and_read(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(LanternError, match=r"End it with \.zip"):
        export_zip(tmp_path / "catalogue", tmp_path / "out.tar")
    with pytest.raises(LanternError, match="does not exist"):
        import_zip(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(LanternError, match="does not exist"):
        export_zip(tmp_path / "none", tmp_path / "out.zip")


def test_thumbnails_go_with_what_they_show(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    seeded_catalogue().save(folder)
    first = with_thumbnails(folder, 1, 4)
    shown = folder / first.entries[1].thumbnail
    assert shown.read_bytes() == image_bytes(10)
    assert [index for index, entry in enumerate(first.entries) if entry.thumbnail] == [1, 4]
    (tmp_path / "new.webp").write_bytes(image_bytes(99, "WEBP"))
    second = put_thumbnails(folder, {1: tmp_path / "new.webp"})
    assert not shown.exists() and (folder / second.entries[1].thumbnail).read_bytes() == image_bytes(99, "WEBP")
    (folder / second.entries[4].thumbnail).unlink()
    second.save(folder)
    assert load_catalogue(folder).entries[4].thumbnail == ""
    # A strip of another shift would show what is no longer so; another label changes nothing that it shows.
    assert update(folder, lambda now: now.edited(1, label="other")).entries[1].thumbnail == second.entries[1].thumbnail
    assert update(folder, lambda now: now.edited(1, sign=-1)).entries[1].thumbnail == ""
    assert not list(folder.glob("*.webp"))
    (tmp_path / "text.png").write_text("no image")
    for wrong in ("text.png", "new.txt", "none.png"):
        with pytest.raises(LanternError, match="no PNG image|ends in|does not exist"):
            put_thumbnails(folder, {1: tmp_path / wrong})
    with pytest.raises(LanternError, match="no direction 6"):
        put_thumbnails(folder, {1: tmp_path / "new.webp", 6: tmp_path / "new.webp"})
