"""The command line: ``python -m explorer COMMAND``; every tab of the page has its command."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from segmentation.errors import LanternError

EXIT_USER, EXIT_INTERRUPTED = 2, 130
_PURPOSE = "Walk a GAN's latent space, find saliency lighting, make masks, train a segmenter, score it."


def _commands() -> dict[str, Callable[..., Any]]:
    # Imported here, so that an error while importing is reported like any other.
    from explorer.commands import looking, making, scoring, serving

    return {
        "app": serving.app,
        "sample": looking.sample,
        "walk": looking.walk,
        "masks": looking.masks,
        "generate": making.generate,
        "train": making.train,
        "evaluate": scoring.evaluate,
        "predict": scoring.predict,
        "encode": looking.encode,
        "directions": making.directions,
        "fit-generator": making.fit,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for what the user can put right, 130 when interrupted."""
    try:
        tyro.extras.subcommand_cli_from_dict(_commands(), prog="python -m explorer", description=_PURPOSE, args=arguments)
    except LanternError as error:
        return _complain(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR):
            raise
        where = error.filename or "a file"
        return _complain(f"{where} could not be read or written ({error.strerror}). Free some space, or choose another place.")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED
    return 0


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER


if __name__ == "__main__":
    sys.exit(main())
