"""The tab Directions through its callbacks, over a catalogue that lies in a folder of the test's own."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from explorer.desk import judged
from explorer.directions.catalogue import Catalogue, load_catalogue
from explorer.directions.exchange import import_zip
from explorer.directions.ranking import FIGURES, FORMULA
from explorer.runs import launcher, listing
from explorer.segmenting import PhotographSegmenter
from explorer.shelf import Shelf
from explorer.ui import directions, directions_form, directions_runs, place
from explorer.ui.directions_facts import facts, formula
from explorer.ui.directions_form import BACKWARDS, FORWARDS, Filled, unsaved
from explorer.ui.directions_shelf import shown_path
from explorer.ui.mask_cards import mask_cards
from explorer.ui.shell import build_page, serve
from explorer.views import MaskView, Workbench
from segmentation.errors import LanternError
from tests.ui.conftest import LIGHTING
from tests.ui.test_page import free_port


@pytest.fixture(scope="module")
def mine(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The same generator with a catalogue in a folder that may be written."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    bench.catalogue.save(folder)
    catalogue = load_catalogue(folder)
    return Workbench(bench.engine, catalogue, Shelf("disc", bench.engine.accepted_fingerprints, catalogue, folder))


@pytest.fixture(scope="module")
def url(mine: Workbench, segmenter: PhotographSegmenter) -> Iterator[str]:
    page = build_page(mine, segmenter)
    yield serve(page, "127.0.0.1", free_port())
    page.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def stored(mine: Workbench) -> Catalogue:
    folder = mine.shelf.place(None).current
    assert folder is not None
    return load_catalogue(folder)


def save(client: Client, direction: int, **changes: Any) -> str:
    values = {"label": "fur", "status": "other", "sign": FORWARDS, "magnitude": 3.0, "notes": ""}
    return str(client.predict(direction=direction, **{**values, **changes}, api_name="/save_direction"))


def test_a_direction_is_judged_at_values_that_are_not_saved(client: Client, mine: Workbench) -> None:
    for sign, way in ((1, FORWARDS), (-1, BACKWARDS)):
        shown = client.predict(direction=LIGHTING, sign=way, magnitude=5.0, seed=2, api_name="/judge_direction")
        view = MaskView(LIGHTING, 5.0, 2, count=6)
        assert shown == mask_cards(judged(mine, view, sign), None)
        assert shown.count('<div class="sample ') == 6 and "<button" not in shown and "</button" not in shown
    assert stored(mine).entries[LIGHTING].sign == 1
    with pytest.raises(AppError):
        client.predict(direction=LIGHTING, sign="sideways", api_name="/judge_direction")


def test_what_is_saved_is_there_with_a_strip_and_its_history(client: Client, mine: Workbench) -> None:
    told = save(client, 3, label=" ears ", sign=BACKWARDS, notes="*soft* <b>")
    entry = stored(mine).entries[3]
    assert (entry.label, entry.status, entry.sign, entry.magnitude, entry.notes) == ("ears", "other", -1, 3.0, "*soft* <b>")
    assert entry.thumbnail and entry.history[-1].by == "page" and "Direction 3 is saved" in told
    shown = facts(stored(mine), 3)
    assert "&lt;b&gt;" in shown and "<b>" not in shown.split("History")[1]
    atlas = client.predict(label="ears", api_name="/atlas")
    assert re.findall(r'data-index="(\d+)"', atlas) == ["3"] and "no strip yet" not in atlas


def test_only_one_direction_is_saliency_lighting(client: Client, mine: Workbench) -> None:
    save(client, 2, label="", status="saliency lighting")
    assert stored(mine).lighting == 2 and stored(mine).entries[LIGHTING].status == "other"
    save(client, LIGHTING, label="lamp", status="saliency lighting", magnitude=6.0)
    assert stored(mine).lighting == LIGHTING


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"direction": 99}, "greater than"),
        ({"status": "good"}, "choices"),
        ({"label": "a\x07b"}, "control character"),
        ({"magnitude": -1}, "less than"),
    ],
)
def test_what_cannot_be_saved_is_refused(client: Client, mine: Workbench, changes: dict[str, Any], words: str) -> None:
    before = stored(mine)
    values = {"direction": 4, **changes}
    with pytest.raises(AppError, match=words):
        save(client, **values)
    assert stored(mine).entries == before.entries


def test_two_directions_are_compared(client: Client) -> None:
    told = client.predict(direction=LIGHTING, other="mine", other_direction=0, seed=1, api_name="/compare")
    assert "cosine <b>+0.7071</b>" in told and told.count("data:image/jpeg;base64,") == 2
    assert "share 8 directions" in told
    with pytest.raises(AppError, match="there is no direction 77"):
        client.predict(direction=1, other="mine", other_direction=77, api_name="/compare")


def test_a_catalogue_goes_out_as_a_zip_and_comes_back(client: Client, mine: Workbench, tmp_path: Path) -> None:
    path = client.predict("mine", api_name="/export_catalogue")
    catalogue = import_zip(Path(path), tmp_path / "out")
    assert [entry.label for entry in catalogue.entries] == [entry.label for entry in stored(mine).entries]
    (tmp_path / "ears & fur.zip").write_bytes(Path(path).read_bytes())
    chosen, _, told = client.predict(handle_file(str(tmp_path / "ears & fur.zip")), api_name="/import_catalogue")
    name = chosen["value"]
    assert name.startswith("catalogues/ears") and name in told and name in [value for value, _ in chosen["choices"]]
    picture = client.predict(direction=1, catalogue=name, api_name="/walk")
    assert Path(picture).is_file()
    merged, _, told = client.predict(name, "mine", 0.95, "both", api_name="/merge")
    assert merged["value"] == "catalogues/both" and "8 were folded" in told
    with pytest.raises(AppError, match="merged with itself"):
        client.predict("mine", "mine", 0.95, "x", api_name="/merge")


def test_a_zip_that_is_none_is_refused_without_saying_where_it_lies(client: Client, tmp_path: Path) -> None:
    (tmp_path / "evil.zip").write_text("no zip")
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(str(tmp_path / "evil.zip")), api_name="/import_catalogue")
    assert "evil.zip is no zip" in str(caught.value) and "/evil.zip" not in str(caught.value)


def test_the_formula_of_the_total_stands_on_the_page() -> None:
    told = html.unescape(re.sub(r"<[^>]+>", "", formula())).replace(" \u00d7 ", " * ")
    assert f"total = {FORMULA}" in told
    for name in FIGURES:
        assert name in told


def test_scores_are_told_with_what_they_mean(mine: Workbench) -> None:
    entry = dataclasses.replace(mine.catalogue.entries[0], scores={"total": 1e-5, "edges": 0.5, "own<i>": 3.0})
    entries = (entry, *mine.catalogue.entries[1:])
    told = facts(dataclasses.replace(mine.catalogue, entries=entries), 0)
    assert "0.0000" in told and FIGURES["edges"].split(":")[0] in told and "own&lt;i&gt;" in told


class Launches:
    """Stands in for the launcher: what was started and stopped, and what the runs say of themselves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[tuple[str, ...], Path]] = []
        self.stopped: list[Path] = []
        self.state = "running"
        monkeypatch.setattr(launcher, "start", lambda arguments, folder: self.started.append((tuple(arguments), folder)))
        monkeypatch.setattr(launcher, "stop", self.stopped.append)
        monkeypatch.setattr(listing, "view", self.view)
        monkeypatch.setattr(listing, "list_runs", lambda root: [self.view(folder) for _, folder in self.started])

    def view(self, folder: Path) -> listing.RunView:
        known = {field.name: None for field in dataclasses.fields(listing.RunView)}
        values = {"folder": folder, "kind": "rank", "state": self.state, "step": 30, "steps": 120, "seconds_left": 75.0}
        more: dict[str, Any] = {"steps_per_second": 1.0, "started": 0.0, "updated": 0.0, "command": (), "host": "here"}
        return listing.RunView(**{**known, **values, **more})


def test_a_run_is_started_watched_and_stopped(client: Client, mine: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(monkeypatch)
    client.predict("mine", "find", api_name="/start_directions_run")
    (arguments, folder) = launches.started[0]
    assert arguments[0] == "rank" and "--choose" in arguments and str(mine.shelf.place(None).target) in arguments
    watch = directions_runs._watch(mine)
    told, start, stop, timer, ended, _ = watch(str(folder), "")
    assert "step 30 of 120, 1 min 15 s left" in told and 'value="25.0"' in told and ended == ""
    assert (start.interactive, stop.interactive, timer.active) == (False, True, True)
    directions_runs._stop(str(folder))
    assert launches.stopped == [folder]
    launches.state = "done"
    told, start, stop, timer, ended, choices = watch(str(folder), "")
    assert (start.interactive, stop.interactive, timer.active, ended) == (True, False, False, f"{folder.name} done")
    assert folder.name in told and str(folder.parent) not in told
    assert "mine" in [value for value, _ in choices.choices]


def test_a_page_that_is_opened_later_finds_the_run_that_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    launches = Launches(monkeypatch)
    client.predict("mine", "calibrate", api_name="/start_directions_run")
    folder = str(launches.started[0][1])
    assert directions_runs._going("") == folder
    launches.state = "failed"
    # One that is in view stays there with what became of it.
    assert directions_runs._going("") == "" and directions_runs._going(folder) == folder


def test_a_second_run_is_refused_until_the_first_has_ended(client: Client, monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    launches = Launches(monkeypatch)
    client.predict("mine", "calibrate", api_name="/start_directions_run")
    name = launches.started[0][1].name
    with pytest.raises(AppError, match=f"the run {name} about directions is not over.*stop it"):
        client.predict("mine", "find", api_name="/start_directions_run")
    assert len(launches.started) == 1
    launches.state = "stopped"
    client.predict("mine", "find", api_name="/start_directions_run")
    assert len(launches.started) == 2


def test_start_stays_disabled_on_a_space(mine: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert directions_runs._watch(mine)("", "")[1].interactive
    monkeypatch.setattr(place, "on_a_space", lambda: True)
    assert not directions_runs._watch(mine)("", "")[1].interactive


def is_skipped(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


class Form:
    """The form in one browser: what is in its fields, and what comes with them."""

    def __init__(self, bench: Workbench) -> None:
        self.bench, self.filled, self.told, self.unsaved = bench, "", "", ""
        self.fields: list[Any] = ["", "new", FORWARDS, 0.0, ""]
        self.seen: dict[str, Any] = {}

    def show(self, direction: int) -> list[bool]:
        """Fill it with a direction; which fields were left alone."""
        return self._take(directions_form.fill(self.bench)("mine", direction, *self.fields, self.filled))

    def drop(self, direction: int) -> list[bool]:
        return self._take(directions_form.drop(self.bench)("mine", direction, self.filled))

    def _take(self, answers: tuple[Any, ...]) -> list[bool]:
        *told, self.told, self.seen, self.filled, self.unsaved = answers
        left = [is_skipped(value) for value in told]
        self.fields = [old if alone else new for old, new, alone in zip(self.fields, told, left, strict=True)]
        return left

    def save(self, direction: int) -> None:
        directions._save(self.bench)("mine", direction, *self.fields, self.seen)


def test_words_that_are_not_saved_stay_and_the_rest_of_the_form_follows_the_catalogue(client: Client, mine: Workbench) -> None:
    save(client, 7, label="tail", notes="long")
    form = Form(mine)
    form.show(7)
    assert form.fields == ["tail", "other", FORWARDS, 3.0, "long"] and form.unsaved == ""
    form.fields[0] = "tail of a cat"
    # What a run or somebody else does meanwhile.
    save(client, 7, label="tail", sign=BACKWARDS, magnitude=4.5, notes="longer")
    assert form.show(7) == [True, False, False, False, False]
    assert form.fields == ["tail of a cat", "other", BACKWARDS, 4.5, "longer"] and "longer" in form.told
    assert form.seen == {"label": "tail", "status": "other", "sign": -1, "magnitude": 4.5, "notes": "longer"}
    assert form.unsaved == "Not saved yet: Label (saved is “tail”)."
    # And once more: still typed, still kept.
    assert form.show(7)[0]
    # Words of which somebody else saved others are kept, and held against what their writer saw.
    save(client, 7, label="fin", sign=BACKWARDS, magnitude=4.5, notes="longer")
    assert form.show(7)[0] and form.seen["label"] == "tail" and "“fin”" in form.unsaved
    with pytest.raises(gr.Error, match="the label is 'fin' now"):
        form.save(7)
    # Who looks again, as the message says, knows what is saved, and may save over it.
    form.show(0)
    form.show(7)
    assert form.fields[0] == "tail of a cat" and form.unsaved == "Not saved yet: Label (saved is “fin”)."
    form.fields[0] = " tail of a cat "
    form.save(7)
    form.show(7)
    assert stored(mine).entries[7].label == form.fields[0] == "tail of a cat" and form.unsaved == ""


def test_words_that_are_not_saved_come_back_with_their_direction_and_catalogue(client: Client, mine: Workbench) -> None:
    save(client, 6, label="paw", notes="")
    save(client, 7, label="tail", notes="")
    form = Form(mine)
    form.show(6)
    form.fields[0], form.fields[4] = "claw", "*sharp*"
    form.show(7)
    assert form.fields[0] == "tail" and form.fields[4] == ""
    assert form.unsaved == f"Not saved of other directions: 6 (Label, Notes). {directions_form._STAY}"
    form.fields[2] = BACKWARDS
    form.show(6)
    assert form.fields[0] == "claw" and form.fields[4] == "*sharp*"
    assert "Label (saved is “paw”), Notes (saved is empty)" in form.unsaved and "7 (Sign)" in form.unsaved
    # Another catalogue has directions of the same numbers.
    other = Filled("elsewhere", 6, {}, Filled.read(form.filled).drafts).text()
    *fields, _, _, _, said = directions_form.fill(mine)("mine", 6, *["x"] * 5, other)
    assert fields[0] == "claw" and "7 (Sign)" in said
    elsewhere = [["elsewhere", 6, {"label": "horn"}]]
    *fields, _, _, _, said = directions_form.fill(mine)("mine", 6, *["x"] * 5, Filled("elsewhere", 1, {}, elsewhere).text())
    assert fields[0] == "paw" and "6 of elsewhere (Label)" in said
    # Saved by now, here or by somebody else: nothing is left to say of it.
    form.save(6)
    form.show(7)
    assert form.fields[2] == BACKWARDS and "6 (" not in form.unsaved
    form.drop(7)
    assert form.fields == ["tail", "other", FORWARDS, 3.0, ""] and form.unsaved == ""
    form.show(6)
    assert form.fields[0] == "claw" and form.unsaved == ""


def test_what_is_saved_is_told_without_effect_on_the_page() -> None:
    filled = Filled("mine", 1, {"label": ""}, [["mine", 1, {"label": "x"}]])
    assert unsaved(filled, {"label": "<b>" + "a" * 99}) == f"Not saved yet: Label (saved is “&lt;b&gt;{'a' * 57}…”)."


def test_the_tab_moves_to_the_direction_of_explore_only_when_that_has_changed() -> None:
    assert directions._entered(3, None) == (3, 3) and directions._entered(4, 3) == (4, 4)
    stays, met = directions._entered(4, 4)
    assert is_skipped(stays) and met == 4


def test_a_run_that_somebody_deleted_is_no_longer_watched(mine: Workbench, tmp_path: Path) -> None:
    told, start, stop, timer, ended, _ = directions_runs._watch(mine)(str(tmp_path / "gone"), "before")
    assert (told, start.interactive, stop.interactive, timer.active, ended) == ("", True, False, False, "before")


def test_what_lies_among_the_runs_is_named_from_their_folder_on(runs: Path, tmp_path: Path) -> None:
    assert shown_path(runs / "catalogues" / "mine") == f"{runs.name}/catalogues/mine"
    assert shown_path(Path.cwd() / "assets") == "assets"
    assert shown_path(tmp_path / "mine") == str(tmp_path / "mine")


def test_a_discovery_takes_its_numbers_and_bad_ones_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    launches = Launches(monkeypatch)
    client.predict("mine", "discover", 4, 25, "proj", "lenet", api_name="/start_directions_run")
    arguments = launches.started[0][0]
    assert arguments[0] == "discover"
    assert arguments[-8:] == (
        *("--directions-count", "4", "--deformator", "proj", "--reconstructor", "lenet", "--steps", "25"),
    )
    for values, words in (((1, 25), r"Directions \(directions_count\) is 1"), ((4, 0), "steps is 0")):
        with pytest.raises(AppError, match=words):
            client.predict("mine", "discover", *values, "proj", "lenet", api_name="/start_directions_run")
    assert len(launches.started) == 1


def test_a_run_that_failed_says_why(mine: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    view = Launches(monkeypatch).view(Path("runs/rank-1"))
    told = directions_runs.told_of(dataclasses.replace(view, state="failed", error="<disk> is full", remedy="Free some."))
    assert "&lt;disk&gt; is full Free some." in told and "left" not in told


def test_edits_of_a_shipped_catalogue_leave_it_as_it_is(bench: Workbench, runs: Path) -> None:
    # The catalogue of this bench is in memory, as a shipped one is in a folder that is not written to.
    assert bench.shelf.place(None).target == runs / "catalogues" / "disc-disc-1"
    with pytest.raises(LanternError, match="catalogue is 'elsewhere'"):
        bench.shelf.update("elsewhere", lambda catalogue: catalogue)


def test_a_strip_on_the_page_can_be_fetched(client: Client) -> None:
    save(client, 6, label="nothing")
    address = re.findall(r'src="([^"]+)"', client.predict(label="nothing", api_name="/atlas"))[0]
    assert httpx.get(f"{client.src}{address}").headers["content-type"] == "image/webp"
