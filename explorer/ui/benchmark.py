"""The tab that asks how good a segmenter is: the paper's tables with one's own rows among them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import gradio as gr

from explorer import jobs
from explorer.overview import Overview, read_picture
from explorer.runs.launcher import LaunchConfig
from explorer.scoreboard import Wish, available, datasets_root, read_board, reproduce_words
from explorer.segmenting import Networks
from explorer.ui import place, watch
from explorer.ui.guard import QUIET, guarded, labelled, whole
from explorer.ui.watch import Watched, WatchTexts, chosen_run
from segmentation.errors import LanternError
from segmentation.methods import CLASSICAL
from segmentation.metrics import PROTOCOLS
from segmentation.published import TABLES
from segmentation.refinement import KINDS

_QUESTION = """## How good is it?
Choose networks and data sets: the paper's table comes with your own rows among the published ones, and with the images that
went best and worst. It is a run of its own: close the page, and it goes on."""
_TEXTS = WatchTexts(
    "benchmark", ("reproduce", "ablate"), "No table yet. Score something above.", "", compare=False, delete=False
)
_WHERE = "Those of the table are taken where they are there. They lie in the folder that LANTERN_DATASETS names."
_LABELS = {"size": "Shorter side"}
"""What the page calls the options of a score, where it is something else."""
_NO_TABLE = "The table appears here as soon as the first data set is scored."


def build(networks: Networks, overview: Overview, timer: gr.Timer, tab: gr.Tab) -> Watched:
    """Lay the tab out, inside ``tab``; ``networks`` are those that can be scored."""
    gr.Markdown(_QUESTION, elem_classes="question")
    place.notice("benchmark-space")
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            titles = [(f"{number}: {table.title}", number) for number, table in TABLES.items()]
            table = gr.Radio(titles, value=2, label="Table of the paper", elem_id="benchmark-table")
            first = [networks.first_name]
            nets = gr.Dropdown(networks.names, value=first, multiselect=True, label="Networks", info="A row each.")
            methods = gr.CheckboxGroup([(known.title, name) for name, known in CLASSICAL.items()], label="Classical methods")
            sets = gr.Dropdown(_sets(), value=[], multiselect=True, label="Further data sets", info=_WHERE)
            protocol = gr.Dropdown(list(PROTOCOLS), value=PROTOCOLS[0], label="Protocol", info="Which definition of max F.")
            refinement = gr.Dropdown(list(KINDS), value=KINDS[0], label="Refinement", info="What is done to the maps.")
            limit = gr.Number(0, step=1, label="Images", info="Of each data set; 0: all.", elem_id="benchmark-images")
            side = "In pixels, for networks; 0: as they were trained."
            size = gr.Number(0, step=1, label=_LABELS["size"], info=side, elem_id="benchmark-side")
            more = "S-measure, E-measure and weighted F too."
            structure = gr.Checkbox(label="Structure", info=more, elem_id="benchmark-structure")
            go = gr.Button("Score", variant="primary", interactive=not place.on_a_space(), elem_id="benchmark-go")
            listed = watch.run_list(_TEXTS)
        with gr.Column(scale=9, min_width=320):
            watched = watch.build(overview, _TEXTS, listed, timer, tab)
            _board(overview, watched)
    inputs = [table, nets, methods, sets, protocol, refinement, limit, size, structure]
    begun = go.click(_begin(networks, overview), inputs, watched.chosen, api_name="benchmark", show_progress="hidden")
    begun.then(guarded(watch.look_at(overview, _TEXTS)), **watched.looked())
    tab.select(lambda: (gr.Dropdown(choices=networks.names), gr.Dropdown(choices=_sets())), None, [nets, sets], **QUIET)
    return watched


def _sets() -> list[tuple[str, str]]:
    return [(f"{name} ({count} images)", name) for name, count in available(datasets_root()).items()]


def _board(overview: Overview, watched: Watched) -> None:
    """The table and the pictures of the run in view, drawn anew when its table has changed."""
    table = gr.Markdown(elem_id="benchmark-result", elem_classes="board")
    pictures = gr.Gallery(
        label="The best and the worst: image, truth, saliency",
        columns=2,
        height="auto",
        object_fit="contain",
        elem_id="benchmark-pictures",
    )
    seen = gr.State(("", 0.0))

    @guarded
    def look(name: str | None, before: tuple[str, float]) -> tuple[Any, Any, Any]:
        if not name:
            return "", [], ("", 0.0)
        run = chosen_run(overview, name).run
        board = read_board(run.folder)
        if (name, board.mark) == tuple(before):
            return gr.skip(), gr.skip(), gr.skip()
        # As pixels: the page may serve no files from the folder of runs.
        shown = [(read_picture(path), caption) for path, caption in board.pictures]
        return _without_root(board.markdown, run.command) or _NO_TABLE, shown, (name, board.mark)

    gr.on([watched.chosen.change, watched.about.change], look, [watched.chosen, seen], [table, pictures, seen], **QUIET)


def _without_root(markdown: str, command: Sequence[str]) -> str:
    """A table's notes with a name for the folder of data sets: where on this machine that lies is nobody's business."""
    given = [after for word, after in pairwise(command) if word == "--root"]
    return markdown.replace(given[0], "LANTERN_DATASETS") if given else markdown


def _begin(networks: Networks, overview: Overview) -> Any:
    @guarded
    @labelled(_LABELS)
    def score(
        table: int,
        nets: list[str],
        methods: list[str],
        sets: list[str],
        protocol: str,
        refinement: str,
        limit: float,
        size: float,
        structure: bool,
    ) -> str:
        """Start scoring; returns the name of the run."""
        place.check_allowed()
        rows = tuple(nets or ()), tuple(methods or ())
        if not any(rows):
            raise LanternError("there is nothing to score", "Choose a network or a classical method.")
        numbers = whole("number of images", limit), whole("shorter side", size)
        wish = Wish(whole("table", table), *rows, tuple(sets or ()), protocol, refinement, *numbers, structure)
        name = jobs.fresh_name("benchmark", overview.root)
        folder = jobs.folder_for(name, overview.root)
        words = reproduce_words(wish, networks, datasets_root(), networks.first.device, folder)
        jobs.begin(words, folder, LaunchConfig())
        overview.forget()
        return name

    return score
