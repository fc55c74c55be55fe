from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from explorer.weights.known import KNOWN
from explorer.weights.store import installed
from tests.explorer.test_commands import run
from tests.explorer.weights.server import Answer, FileServer

FAST = ("--attempts", 2, "--wait", 0)


def blocks(shown: str) -> dict[str, str]:
    """What the list says of each name."""
    parts = re.split(r"\n(?=[\w-]+: )", shown)
    return {part.split(":")[0]: part for part in parts[1:]}


def test_the_list_says_what_is_known_and_what_is_not(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert run("weights") == 0
    shown = capsys.readouterr().out
    said = blocks(shown)
    assert str(home) in shown
    assert list(said) == list(KNOWN)
    published = {"bigbigan": "BigBiGAN_x1.pth", "bg-direction": "bg_direction.pth", "embeddings-duts": "BigBiGAN_DUTS-TR_z.npy"}
    for name, file in published.items():
        assert file in said[name]
    for name, block in said.items():
        assert f"{name}: not installed" in block
        assert re.search(r"licence +unknown", block)
        assert re.search(r"sha256 +unknown; recorded at the first installation", block)
    assert re.search(r"from +unknown\n", said["unet-flowers"])
    assert re.search(r"size +about 551 MB, by the authors' README", said["embeddings-imagenet"])
    assert "https://tfhub.dev/deepmind/bigbigan-revnet50x4/1?tf-hub-format=compressed" in said["bigbigan-revnet50x4"]


def test_an_installation_shows_in_the_list(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [Answer(cut=500_000)]
    assert run("weights", "--install", "embeddings-cub", "--url", server.url, *FAST) == 0
    ended = capsys.readouterr()
    path = installed("embeddings-cub")
    assert path is not None
    assert ended.out == f"embeddings-cub: 3,000 latent codes of 120 numbers; {path}\n"
    assert "500,000 of 1,440,128 bytes are there" in " ".join(ended.err.split())
    assert "1.4/1.4 MB" in ended.err
    assert run("weights") == 0
    said = blocks(capsys.readouterr().out)["embeddings-cub"]
    assert f"embeddings-cub: installed, {path} (3,000 latent codes of 120 numbers, 1.4 MB)" in said
    assert re.search(rf"sha256 +[0-9a-f]{{64}}, recorded on \d{{4}}-\d\d-\d\d from {server.url}", said)


def test_what_was_published_is_said_as_such(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = dataclasses.replace(KNOWN["bigbigan"], sha256="a" * 64, size=282_000_000, licence="Apache-2.0")
    monkeypatch.setitem(KNOWN, "bigbigan", known)
    assert run("weights") == 0
    said = blocks(capsys.readouterr().out)["bigbigan"]
    assert re.search("sha256 +a{64}, as published", said)
    assert re.search("size +282.0 MB", said)
    assert re.search("licence +Apache-2.0", said)


def test_a_local_copy_goes_in_and_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torch.ones(120), tmp_path / "mine.pth")
    assert run("weights", "--install", "bg-direction", "--from", tmp_path / "mine.pth") == 0
    path = installed("bg-direction")
    assert path is not None
    assert run("weights", "--verify") == 0
    assert f"bg-direction: unchanged; {path}" in capsys.readouterr().out
    path.write_bytes(b"changed")
    assert run("weights", "--verify") == 2
    assert "not as they were installed: bg-direction" in " ".join(capsys.readouterr().err.split())
    assert run("weights") == 0
    assert "bg-direction: broken: " in capsys.readouterr().out
    assert run("weights", "--remove", "bg-direction") == 0
    assert run("weights", "--remove", "bg-direction") == 0
    assert capsys.readouterr().out == "bg-direction: removed\nbg-direction: nothing to remove\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--install", "bigbigan", "--remove", "bigbigan"), "--install and --remove are given together"),
        (("--from", "a.pth"), "--from alone says nothing. Add --install NAME"),
        (("--verify", "--url", "https://host/a"), "--url alone says nothing"),
        (("--install", "unet-flowers"), "is not known. Give its address with --url URL, or a copy with --from FILE"),
        (("--remove", "nothing"), "there are no weights named 'nothing'. Choose one of: bigbigan,"),
        (("--install", "bigbigan", "--attempts", "0"), "attempts is 0. Choose a value between 1 and 100"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("weights", *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_failed_download_says_what_to_do(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [Answer(status=404)]
    assert run("weights", "--install", "embeddings-cub", "--url", server.url, *FAST) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{server.url} could not be downloaded (the server answered 404 Not Found)" in said
    assert "give another address with --url URL or a copy with --from FILE" in said
