"""Where a run is started: this machine, or Slurm where it is found; and what a free Space cannot do, with the reason."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr

from explorer.knobs import changed, field_words
from explorer.runs.launcher import LaunchConfig, slurm_available
from explorer.ui.guard import whole
from segmentation.errors import require

LOCAL, SLURM = "local", "slurm"
_SHOWN = ("cluster", "partition", "gpus", "minutes")
_ON_A_SPACE = (
    "**This is a Hugging Face Space**: its two cores are shared by all visitors, it sleeps, and what it writes is lost then. "
    "So nothing that takes long can be started here. Duplicate the Space with hardware of your own, or run Lantern on your "
    "machine: `make run`."
)


def on_a_space() -> bool:
    """Whether this process is a Hugging Face Space."""
    return bool(os.environ.get("SPACE_ID"))


def notice(elem_id: str) -> None:
    """On a Space, say why this tab cannot start anything."""
    if on_a_space():
        gr.Markdown(_ON_A_SPACE, elem_id=elem_id)


def check_allowed() -> None:
    """Refuse to start a run on a Space, whoever asks."""
    require(not on_a_space(), "a Space starts no runs", "Run Lantern on a machine of your own: make run.")


def controls(prefix: str) -> list[Any]:
    """The choice of the place, laid out where there is one: nothing where there is no Slurm."""
    if not slurm_available():
        return []
    default, words = LaunchConfig(), field_words(LaunchConfig)
    with gr.Accordion("Where it runs", open=False):
        return [
            gr.Radio([LOCAL, SLURM], value=default.cluster, label="Where", info=words["cluster"], elem_id=f"{prefix}-cluster"),
            gr.Textbox(default.partition, label="Partition", info=words["partition"], elem_id=f"{prefix}-partition"),
            gr.Number(default.gpus, label="GPUs", step=1, info=words["gpus"], elem_id=f"{prefix}-gpus"),
            gr.Number(default.minutes, label="Minutes", step=1, info=words["minutes"], elem_id=f"{prefix}-minutes"),
        ]


def chosen(values: tuple[Any, ...]) -> LaunchConfig:
    """What the controls of :func:`controls` say; this machine where there are none."""
    if not values:
        return LaunchConfig()
    given = dict(zip(_SHOWN, values, strict=True))
    if given["cluster"] == LOCAL:
        return LaunchConfig(minutes=whole("number of minutes", given["minutes"]))
    return changed(LaunchConfig(), given)
