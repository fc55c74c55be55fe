from __future__ import annotations

import dataclasses
import http.client
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import explorer.weights.download as download
from explorer.weights.download import DownloadConfig, Unmetered, check_redirect, fetch
from segmentation.errors import LanternError
from tests.explorer.weights.conftest import latent_codes
from tests.explorer.weights.server import Answer, FileServer, serving

EAGER = DownloadConfig(attempts=3, wait=0)


class Seen(Unmetered):
    """Keeps what a meter is told."""

    def __init__(self) -> None:
        self.moves: list[tuple[int, int | None]] = []
        self.notes: list[str] = []

    def moved(self, done: int, total: int | None) -> None:
        self.moves.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_file_comes_as_it_is_and_the_meter_sees_it_grow(server: FileServer, tmp_path: Path) -> None:
    meter = Seen()
    fetch(server.url, tmp_path / "a.npy", EAGER, meter, False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    done = [moved for moved, _ in meter.moves]
    assert done[0] == 0
    assert done[-1] == len(server.content)
    assert done == sorted(done)
    assert {total for _, total in meter.moves} == {len(server.content)}
    assert server.asked[0]["Accept-Encoding"] == "identity"


def test_a_cut_connection_is_taken_up_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000), Answer(cut=300_000)]
    meter = Seen()
    fetch(server.url, tmp_path / "a.npy", EAGER, meter, False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert server.ranges == [None, "bytes=500000-", "bytes=800000-"]
    assert [asked.get("If-Range") for asked in server.asked] == [None, '"one"', '"one"']
    assert len(meter.notes) == 2
    assert "500,000 of 1,440,128 bytes are there" in meter.notes[0]


def test_a_server_that_ignores_range_is_read_from_the_start(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000), Answer(ranges=False)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert server.ranges == [None, "bytes=500000-"]


def test_a_server_that_ignores_range_and_cuts_each_time_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000, ranges=False) for _ in range(9)]
    with pytest.raises(LanternError, match="500,000 of 1,440,128 bytes are there.*is kept.*--url URL.*--from FILE"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert len(server.asked) == 3


def test_a_file_that_changes_between_attempts_is_not_mixed(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000)]
    first = tmp_path / "a.npy"
    with pytest.raises(LanternError):
        fetch(server.url, first, DownloadConfig(attempts=1, wait=0), Seen(), False)
    assert first.stat().st_size == 500_000
    server.content, server.etag = latent_codes(seed=1), '"two"'
    fetch(server.url, first, EAGER, Seen(), False)
    assert first.read_bytes() == server.content
    assert server.asked[1]["If-Range"] == '"one"'


def test_a_server_that_sends_a_part_of_the_changed_file_all_the_same(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000), Answer(headers={"ETag": '"two"'})]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert server.ranges == [None, "bytes=500000-", None]


@pytest.mark.parametrize(("start", "ranges"), [(-1000, 2), (1000, 3)])
def test_a_part_from_another_place(server: FileServer, tmp_path: Path, start: int, ranges: int) -> None:
    server.answers = [Answer(cut=500_000), Answer(start=start)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert len(server.ranges) == ranges  # an earlier start is cut to fit, a later one leaves a gap


def test_without_proof_that_the_file_is_the_same_it_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.etag = ""
    server.answers = [Answer(cut=500_000)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert server.ranges == [None, None]


def test_with_a_checksum_to_meet_it_goes_on_without_proof(server: FileServer, tmp_path: Path) -> None:
    server.etag = ""
    server.answers = [Answer(cut=500_000)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), True)
    assert server.ranges == [None, "bytes=500000-"]
    assert (tmp_path / "a.npy").read_bytes() == server.content


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_the_date_proves_it_where_there_is_no_strong_tag(server: FileServer, tmp_path: Path, etag: str) -> None:
    server.etag, server.modified = etag, (proof := "Mon, 06 Jul 2020 09:00:00 GMT")
    server.answers = [Answer(cut=500_000)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert server.asked[1]["If-Range"] == proof
    assert server.ranges[1] == "bytes=500000-"


def test_a_server_that_promises_more_than_it_has(server: FileServer, tmp_path: Path) -> None:
    size = len(server.content)
    server.answers = [Answer(promise=size + 10)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content  # asked for the rest, it admits its true length
    assert server.ranges == [None, f"bytes={size}-"]


def test_a_server_that_always_promises_more_than_it_has(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(promise=len(server.content) + 10, ranges=False) for _ in range(9)]
    with pytest.raises(LanternError, match="1,440,128 of 1,440,138 bytes are there"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)


def test_a_server_that_promises_less_gives_what_it_promised(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(promise=1000)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content[:1000]  # looking into it finds out


def test_a_length_that_is_not_told(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(length=False)]
    meter = Seen()
    fetch(server.url, tmp_path / "a.npy", EAGER, meter, False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert meter.moves[-1] == (len(server.content), None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_said_at_once(server: FileServer, tmp_path: Path, status: int) -> None:
    server.answers = [Answer(status=status)]
    with pytest.raises(LanternError, match=f"answered {status} {http.client.responses[status]}"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_trouble_is_waited_out(server: FileServer, tmp_path: Path, status: int) -> None:
    server.answers = [Answer(cut=500_000), Answer(status=status)]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    assert server.ranges == [None, "bytes=500000-", "bytes=500000-"]


def test_a_lasting_trouble_is_given_up_and_what_came_is_kept(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(cut=500_000), *(Answer(status=500) for _ in range(9))]
    with pytest.raises(LanternError, match="answered 500"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert len(server.asked) == 3
    server.answers.clear()
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert server.ranges[-1] == "bytes=500000-"
    assert (tmp_path / "a.npy").read_bytes() == server.content


def test_the_waits_grow(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("explorer.weights.download.time.sleep", waited.append)
    server.answers = [Answer(status=503), Answer(status=503), Answer(cut=9), Answer(status=503)]
    fetch(server.url, tmp_path / "a.npy", DownloadConfig(attempts=5, wait=2), Seen(), False)
    assert waited == [2, 4, 2, 4]  # the third brought something


def test_a_silent_server_is_not_waited_for_forever(server: FileServer, tmp_path: Path) -> None:
    release = threading.Event()
    server.answers = [Answer(stall=release)]
    begun = time.monotonic()
    fetch(server.url, tmp_path / "a.npy", DownloadConfig(attempts=3, wait=0, read_timeout=0.2), Seen(), False)
    assert time.monotonic() - begun < 10
    assert server.ranges == [None, f"bytes={len(server.content) // 2}-"]
    release.set()
    assert (tmp_path / "a.npy").read_bytes() == server.content


def test_nobody_there(tmp_path: Path) -> None:
    with serving(b"") as gone:
        url = gone.url
    with pytest.raises(LanternError, match=f"{url} could not be downloaded .*refused"):
        fetch(url, tmp_path / "a.npy", EAGER, Seen(), False)


def test_a_web_page_in_place_of_the_file(server: FileServer, tmp_path: Path) -> None:
    server.content = b"<html>sign in</html>"
    server.answers = [Answer(headers={"Content-Type": "text/html; charset=utf-8"})]
    with pytest.raises(LanternError, match="a web page in place of the file"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert not (tmp_path / "a.npy").exists()


def test_redirects_are_followed_but_not_to_an_unsafe_place(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(status=302, headers={"Location": "/elsewhere"})]
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content
    check_redirect("http://a.org/x", "http://b.org/x")
    check_redirect("https://a.org/x", "https://b.org/x")
    with pytest.raises(LanternError, match="https://a.org/x leads to http://b.org/x, which is not encrypted"):
        check_redirect("https://a.org/x", "http://b.org/x")


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "/file.npy"])
def test_a_redirect_to_nowhere_is_said(server: FileServer, tmp_path: Path, target: str) -> None:
    server.answers = [Answer(status=302, headers={"Location": target}) for _ in range(40)]
    with pytest.raises(LanternError, match="could not be downloaded"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)


def test_an_endless_file_is_not_believed(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 600_000)
    server.answers = [Answer(length=False)]
    with pytest.raises(LanternError, match="sends more than 600,000 bytes"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)


def test_a_file_that_the_disk_has_no_room_for(server: FileServer, tmp_path: Path) -> None:
    server.answers = [Answer(promise=1 << 60)]
    with pytest.raises(LanternError, match="bytes are to come.*has room for.*LANTERN_HOME"):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)


@pytest.mark.parametrize("notes", ["", "{", "[]", '{"etag": "x", "unknown": 1}'])
def test_damaged_notes_on_a_part_start_it_anew(server: FileServer, tmp_path: Path, notes: str) -> None:
    (tmp_path / "a.npy").write_bytes(b"of something else")
    (tmp_path / "a.npy.json").write_text(notes)
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content


def test_a_part_without_notes_is_not_trusted(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"of something else")
    fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert (tmp_path / "a.npy").read_bytes() == server.content


def test_what_is_whole_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(server.url, tmp_path / "a.npy", EAGER, Seen(), False)
    assert len(server.asked) == 1


VERSIONS = [bytes([65 + number]) * (5000 - 7 * number) for number in range(4)]
answers = st.builds(
    Answer,
    status=st.sampled_from([0, 0, 0, 0, 416, 503]),
    cut=st.none() | st.integers(0, 5000),
    start=st.integers(-50, 50),
    ranges=st.booleans(),
    headers=st.sampled_from([{}, {"ETag": '"else"'}, {"ETag": ""}]),
    content=st.sampled_from([None, None, *VERSIONS]),
)


@settings(max_examples=25)
@given(trouble=st.lists(answers, max_size=6), parts=st.integers(0, 2))
def test_whatever_happens_the_file_is_one_that_the_server_had(trouble: list[Answer], parts: int) -> None:
    with serving(VERSIONS[0]) as server, TemporaryDirectory() as folder:
        server.answers = [dataclasses.replace(one) for one in trouble]
        path = Path(folder, "file")
        for _ in range(parts):  # as if a process ended after some attempts, and another went on
            with suppress(LanternError):
                fetch(server.url, path, DownloadConfig(attempts=2, wait=0), Unmetered(), False)
        fetch(server.url, path, DownloadConfig(attempts=20, wait=0), Unmetered(), False)
        assert path.read_bytes() in VERSIONS
