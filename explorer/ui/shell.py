"""Puts the tabs together and opens the page."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.engine import EngineConfig
from explorer.overview import Overview
from explorer.runs.command import runs_root
from explorer.ui.desktop import check_window, has_screen, show_window
from explorer.views import Workbench, open_workbench
from explorer.weights.store import resolved
from segmentation.configuration import Config, check_range
from segmentation.errors import LanternError

if TYPE_CHECKING:
    import gradio as gr

    from explorer.segmenting import PhotographSegmenter

PORT = 7860
UPLOAD_LIMIT = "10mb"
_HEADER = """<header id="masthead"><h1>Lantern</h1><p>A look inside a GAN that knows where the object is: walk through its
latent space, find the direction that lights up what is salient, and make masks from it. Start by moving the
<em>Magnitude</em> slider; then choose another direction from the atlas.</p></header>"""


@dataclasses.dataclass(frozen=True)
class AppConfig(Config):
    """What the page shows, and where it answers."""

    generator: str = "pocket"
    """A name: pocket, or, where installed, bigbigan, bigbigan-resnet50, bigbigan-revnet50x4;
    a weights file: .safetensors, or BigBiGAN's .pth or .pt; a TF-Hub module: its folder or its https:// handle;
    a class of your own: module:Class or file.py:Class."""
    directions: Path | None = None
    """Folder of the catalogue of directions; by default the one that belongs to the generator."""
    segmenter: Path | None = None
    """Weights of the U-Net for the tab Segment, a file or the name of installed ones; by default the shipped ones."""
    host: str | None = None
    """Address to listen on; by default this machine alone, 127.0.0.1, and on a Hugging Face Space all addresses."""
    port: int | None = None
    """Port; by default GRADIO_SERVER_PORT or PORT from the environment, else 7860."""
    device: str = EngineConfig.device
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: str = EngineConfig.precision
    """``float32``, or ``bfloat16`` autocast."""
    browser: bool = True
    """Open a browser, where there is a screen."""
    window: bool = False
    """Show the page in a window of its own, which ends the program when it is closed; see requirements-desktop.txt."""

    def __post_init__(self) -> None:
        if self.port is not None:
            check_range("port", self.port, 1, 65535)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, from the environment where they are not given."""
        host = self.host or ("0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1")
        if self.port is not None:
            return host, self.port
        given = os.environ.get("GRADIO_SERVER_PORT") or os.environ.get("PORT") or str(PORT)
        if not (given.isdecimal() and 1 <= int(given) <= 65535):
            raise LanternError(f"the port in the environment is {given!r}", "Choose 1 to 65535.")
        return host, int(given)


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        remedy = "Choose another one with --port, or close the program that uses it."
        raise LanternError(f"port {port} of {host} cannot be used ({error.strerror or error})", remedy) from error


def build_page(bench: Workbench, segmenter: PhotographSegmenter) -> gr.Blocks:
    """The page over ``bench`` and ``segmenter``, which all visitors share."""
    import gradio as gr

    from explorer.segmenting import Networks
    from explorer.ui import benchmark, directions, explore, generate, masks, runs, segment, tabs, train
    from explorer.ui.guard import Page
    from explorer.ui.space import borrow_for_engine
    from explorer.ui.thread import gather_engine_calls

    overview = Overview(runs_root())
    networks = Networks(segmenter, overview.root)
    page = Page(title="Lantern", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600))
    with page:
        timers = {name: tabs.timer() for name in ("directions", "generate", "train", "benchmark", "runs")}
        gr.HTML(_HEADER, elem_id="header")
        with gr.Tabs(elem_id="tabs") as row:
            with gr.Tab("Explore", id="explore") as tab:
                explored = explore.build(bench, page, tab)
            with gr.Tab("Directions", id="directions") as tab:
                directions.build(bench, explored, timers["directions"], tab)
            with gr.Tab("Masks", id="masks"):
                chosen = masks.build(bench, explored, page)
            with gr.Tab("Generate", id="generate") as tab:
                generate.build(bench, overview, chosen, timers["generate"], tab)
            with gr.Tab("Train", id="train") as tab:
                train.build(bench, overview, chosen, timers["train"], tab)
            with gr.Tab("Benchmark", id="benchmark") as tab:
                benchmark.build(networks, overview, timers["benchmark"], tab)
            with gr.Tab("Segment", id="segment") as tab:
                segment.build(networks, page, tab)
            with gr.Tab("Runs", id="runs") as tab:
                runs.build(overview, timers["runs"], tab)
        tabs.wire(page, row, {str(tab.id): tab for tab in row.children if isinstance(tab, gr.Tab)}, timers)
        page.queue(default_concurrency_limit=4, max_size=64)
    borrow_for_engine(page)
    gather_engine_calls(page)
    return page


def serve(page: gr.Blocks, host: str, port: int, *, browser: bool = False) -> str:
    """Open ``page`` at that address, in threads of its own; returns its URL."""
    from explorer.ui.exports import exports
    from explorer.ui.theme import CSS, LanternTheme

    _, url, _ = page.launch(
        server_name=host,
        server_port=port,
        theme=LanternTheme(),
        css=CSS,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        footer_links=["api"],
        max_file_size=UPLOAD_LIMIT,
        allowed_paths=[str(exports().folder)],
        # Else gradio asks for the page once more and gives up after three seconds, which a busy machine may need; that the
        # server answers, it has seen before that, and waited for.
        _frontend=False,
    )
    return url


def open_app(config: AppConfig) -> tuple[gr.Blocks, str]:
    """Load what ``config`` names and open the page; returns it and its URL.

    Errors: :class:`LanternError` if the port is taken, or the generator or its catalogue is missing.
    """
    host, port = config.address
    check_address(host, port)
    if config.window:
        check_window()
    _prepare_environment()
    place = EngineConfig(device=config.device, precision=config.precision)
    from explorer.segmenting import PhotographSegmenter
    from explorer.ui.thread import in_thread, keep_memory

    keep_memory()
    bench = in_thread(open_workbench)(config.generator, config.directions, place)

    segmenter = None if config.segmenter is None else resolved(config.segmenter)
    page = build_page(bench, PhotographSegmenter(segmenter, str(bench.engine.device)))
    try:
        return page, serve(page, host, port, browser=_opens_browser(config))
    except OSError as error:
        raise LanternError(f"port {port} of {host} cannot be used ({error})", "Choose another one with --port.") from error


def launch_app(config: AppConfig) -> None:
    """Open the page and stay until interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if not config.window:
        # As Ctrl-C does: what is temporary goes with the program. In Qt's loop Python would not hear of it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    page, url = open_app(config)
    print(f"Lantern is open at {url}", flush=True)
    if not config.window:
        page.block_thread()
        return
    try:
        show_window(url)
    finally:
        page.close(verbose=False)


def _prepare_environment() -> None:
    """Tell gradio to send nothing out, and to keep uploads in a folder that goes with this process."""
    from explorer.ui.exports import exports

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(exports().uploads))


def _opens_browser(config: AppConfig) -> bool:
    return config.browser and not config.window and not os.environ.get("SPACE_ID") and has_screen()
