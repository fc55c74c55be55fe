"""The command line: ``python -m explorer COMMAND``; every tab of the page has its command."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from explorer.runs import command
from explorer.runs.outcome import finish, refuse
from segmentation.errors import LanternError

EXIT_USER, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141
_RUNS = "runs"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PURPOSE = "Walk a GAN's latent space, find saliency lighting, make masks, train a segmenter, score it."


def _commands(arguments: Sequence[str]) -> dict[str, Callable[..., Any]]:
    # Imported here, so that an error while importing is reported like any other.
    if arguments and arguments[0] == _RUNS:
        # Answers at once: it needs no PyTorch.
        from explorer.commands import running

        return {_RUNS: running.runs}
    from explorer.commands import (
        atlas,
        benchmarking,
        cataloguing,
        converting,
        data,
        datasets,
        directing,
        discovering,
        encoding,
        importing,
        looking,
        making,
        ranking,
        running,
        scoring,
        serving,
        sweeping,
        weighing,
    )

    return {
        "app": serving.app,
        "sample": looking.sample,
        "walk": looking.walk,
        "masks": looking.masks,
        "generate": making.generate,
        "data": data.data,
        "train": making.train,
        "datasets": datasets.datasets,
        "reproduce": benchmarking.reproduce,
        "ablate": benchmarking.ablate,
        "sweep": sweeping.sweep,
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
        _RUNS: running.runs,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code that :func:`exit_code` gives."""
    own = sys.argv[1:] if arguments is None else list(arguments)
    with command.carried_out(own):
        return exit_code(lambda: _carry_out(own))


def _carry_out(arguments: Sequence[str]) -> None:
    try:
        _obey(_commands(arguments), arguments)
    except SystemExit as end:
        if end.code:
            refuse(LanternError("the command line is wrong", "log.txt says what is wrong with it."))
        raise
    finish()


def _obey(commands: dict[str, Callable[..., Any]], arguments: Sequence[str]) -> None:
    tyro.extras.subcommand_cli_from_dict(commands, prog="python -m explorer", description=_PURPOSE, args=list(arguments))


def check(arguments: Sequence[str]) -> None:
    """Refuse a command line that :func:`main` would refuse before it does anything.

    Errors: :class:`LanternError` with what the command line would print.
    """

    def idle(command: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(command)
        def nothing(*given: Any, **named: Any) -> None:
            return

        return nothing

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _obey({name: idle(command) for name, command in _commands(arguments).items()}, arguments)
    except SystemExit as end:
        said_before, _, _ = said.getvalue().partition("Perhaps you meant")[0].partition("For full helptext")
        lines = [line.strip("\u2502\u256d\u2570\u256e\u256f|+\u2500- ") for line in said_before.splitlines()]
        # The first is a title of what follows.
        words = " ".join(line for line in lines[1:] if line)
        remedy = "See: python -m explorer --help"
        raise LanternError(f"the command line is wrong: {words}", remedy) from end


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
        refuse(error)
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
