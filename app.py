"""Open the page: ``python app.py``; ``--help`` lists the options. ``python -m explorer app`` does the same."""

from __future__ import annotations

import sys

import tyro

from explorer.__main__ import exit_code


def main() -> int:
    """Open the page and stay until interrupted; returns the exit code, 2 for what the user can put right."""

    def work() -> None:
        from explorer.ui.shell import AppConfig, launch_app

        launch_app(tyro.cli(AppConfig, description="Walk a GAN, find saliency lighting, make masks."))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
