"""The command line: ``python -m explorer COMMAND``; every tab of the page has its command."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from segmentation.errors import LanternError

EXIT_USER, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PURPOSE = "Walk a GAN's latent space, find saliency lighting, make masks, train a segmenter, score it."


def _commands() -> dict[str, Callable[..., Any]]:
    # Imported here, so that an error while importing is reported like any other.
    from explorer.commands import (
        atlas,
        benchmarking,
        cataloguing,
        converting,
        datasets,
        directing,
        discovering,
        encoding,
        importing,
        looking,
        making,
        ranking,
        scoring,
        serving,
        weighing,
    )

    return {
        "app": serving.app,
        "sample": looking.sample,
        "walk": looking.walk,
        "masks": looking.masks,
        "generate": making.generate,
        "train": making.train,
        "datasets": datasets.datasets,
        "reproduce": benchmarking.reproduce,
        "ablate": benchmarking.ablate,
        "evaluate": scoring.evaluate,
        "predict": scoring.predict,
        "weights": weighing.weights,
        "convert": converting.convert,
        "import": importing.import_artefact,
        "export": importing.export,
        "encode": encoding.encode,
        "preview": encoding.preview,
        "reconstruct": looking.reconstruct,
        "directions": directing.directions,
        "discover": discovering.discover,
        "calibrate": directing.calibrate,
        "rank": ranking.rank,
        "catalogue": cataloguing.catalogue,
        "choose": making.choose,
        "atlas": atlas.atlas,
        "thumbnails": atlas.thumbnails,
        "movie": atlas.movie,
        "figure": atlas.figure,
        "fit-generator": making.fit,
        "fit-features": making.features,
        "measure-generator": scoring.measure,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code that :func:`exit_code` gives."""

    def work() -> None:
        tyro.extras.subcommand_cli_from_dict(_commands(), prog="python -m explorer", description=_PURPOSE, args=arguments)

    return exit_code(work)


def exit_code(work: Callable[[], None]) -> int:
    """Do ``work`` and say on standard error what the user can put right.

    Returns 0, 2 for what the user can put right, 130 when interrupted, 141 when whoever read the output has gone away.
    """
    try:
        try:
            work()
        finally:
            _flush_output()
    except LanternError as error:
        return _complain(str(error))
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno is None:
            raise
        where = error.filename or "a file"
        remedy = "Free some space, or choose another place." if error.errno in _FULL else "Choose another place."
        return _complain(f"{where} could not be read or written ({error.strerror or error}). {remedy}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # What could not be written is tried again when Python ends, and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_USER


if __name__ == "__main__":
    sys.exit(main())
