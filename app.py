"""Open the page: ``python app.py``; ``--help`` lists the options. ``python -m explorer app`` does the same."""

from __future__ import annotations

import sys

import tyro

from segmentation.errors import LanternError


def main() -> int:
    """Open the page and stay until interrupted; returns the exit code, 2 for what the user can put right."""
    from explorer.ui.shell import AppConfig, launch_app

    try:
        launch_app(tyro.cli(AppConfig, description="Walk a GAN, find saliency lighting, make masks."))
    except LanternError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
