"""Commands around embeddings: encode a data set, look at what a file of embeddings decodes to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Annotated

import numpy as np

from explorer.commands.options import Flat, GeneratorOptions, check_picture, suffix_of
from explorer.embedding import check_encoder, decode_codes
from explorer.encoded import measure, read_record, record_path, spread_rows
from explorer.encoding import Encoded, EncodingConfig, Share, encode_data_set, run_folder
from explorer.engine import Engine, EngineConfig
from explorer.generators.listing import Listing
from explorer.generators.registry import load_generator
from explorer.runs.terminal import recorded_by_first
from explorer.sources import SourceConfig, as_embeddings, check_finite, read_embeddings
from explorer.weights.store import resolved
from segmentation.configuration import check_range
from segmentation.errors import require
from segmentation.files import write_image
from segmentation.pictures import tile
from segmentation.processes import Alone, join
from segmentation.progress import Watcher

_SHOWN = 20


def encode(
    options: Annotated[GeneratorOptions, Flat],
    config: Annotated[EncodingConfig, Flat],
    images: tuple[Path, ...],
    out: Path,
    shards: int | None = None,
    shard: int | None = None,
    workers: int = 4,
    checkpoint_every: int | None = None,
) -> None:
    """Embed photographs: the latent codes that the generator's encoder gives them; goes on where it stopped.

    On several GPUs: torchrun --nproc-per-node N -m explorer encode ..., or accelerate launch. On machines that do not know of
    each other: one command each, with --shards N and its own --shard.

    Args:
        options: the generator; it needs an encoder.
        config: how it encodes.
        images: photographs, folders (with their subfolders) and tars of them.
        out: the latent codes (FILE.npy, float32 (N, d)); beside them go FILE.json, which says what made them and which
            photograph each row is, and the folder FILE.run of the run.
        shards: how many independent processes encode this data set; the last one puts it together.
        shard: which of them this one is, from 0 on; by default what the environment's RANK says.
        workers: threads that decode images.
        checkpoint_every: photographs between two saves, in whole blocks; by default every block.
    """
    suffix_of(out, ".npy")
    share, place, processes = _share(options.engine, shards, shard)
    with closing(Listing(images)) as photographs, _watched(out, share, options.devices()) as watcher:
        engine = Engine(load_generator(options.generator), place)
        check_encoder(engine)
        encoded = encode_data_set(engine, photographs, out, config, watcher, share, workers, checkpoint_every, processes)
        stopped = watcher.stop_requested()
    if share.joined and share.index:
        return
    if encoded is not None:
        _report(encoded, out)
    elif stopped or share.joined:
        print(f"stopped; run the same command again to go on in {run_folder(out)}")
    else:
        print(f"shard {share.index} of {share.count} is done, others are not: the last one writes {out}")


def preview(
    options: Annotated[GeneratorOptions, Flat],
    embeddings: Path,
    out: Path,
    count: int = 16,
    alpha: float = SourceConfig.alpha,
    seed: int = 0,
    columns: int = 4,
) -> None:
    """Images of embeddings and their statistics, to see before a run that it is the right file.

    Args:
        options: the generator.
        embeddings: latent codes (.npy, (N, d)), or the name of installed ones (embeddings-cub).
        out: the picture (.png, .jpg): each embedding decoded, and right of it the same with noise, as a run samples it.
        count: how many rows, evenly spread over the file.
        alpha: weight of the noise; 0: no picture of it.
        seed: seed of the noise.
        columns: embeddings a row of the picture.
    """
    suffix_of(out, ".png", ".jpg")
    check_range("count", count, 1, 1_000_000)
    check_picture(2 * count)
    SourceConfig(alpha=alpha)
    embeddings = resolved(embeddings)
    engine = Engine(load_generator(options.generator), options.engine)
    codes = as_embeddings(read_embeddings(embeddings, engine), engine)
    statistics = measure(codes.numpy())
    print(f"{embeddings}: {statistics.describe()}")
    for doubt in statistics.doubts():
        print(f"warning: {doubt}")
    check_finite(codes, engine)
    rows = spread_rows(len(codes), count)
    plain = codes.numpy()[rows]
    versions = [plain, plain + alpha * engine.codes(len(rows), seed).numpy()] if alpha else [plain]
    pictures = np.stack([decode_codes(engine, version) for version in versions], 1)
    write_image(out, tile(pictures.reshape(-1, *pictures.shape[2:]), len(versions) * min(columns, len(rows))))
    _name_rows(embeddings, rows.tolist())
    print(out)


def _share(engine: EngineConfig, shards: int | None, shard: int | None) -> tuple[Share, EngineConfig, Alone]:
    """This process's part of the work, the engine's configuration with its own device, and whom it runs together with."""
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if shards is not None:
        index = shard if shard is not None else _number("RANK", rank)
        return Share(index, shards), engine, Alone()
    require(shard is None, "--shard says which one, but not of how many", "Give --shards too.")
    if _number("WORLD_SIZE", world or "1") > 1 and "MASTER_ADDR" not in os.environ:
        # Without an address the processes cannot meet: they are counted, and no more.
        return Share(_number("RANK", rank), _number("WORLD_SIZE", world)), engine, Alone()
    processes, device = join(engine.torch_device())
    if processes.count == 1:
        return Share(), engine, processes
    own = "cpu" if device.type == "cpu" else str(device)
    return Share(processes.index, processes.count, joined=True), dataclasses.replace(engine, device=own), processes


def _number(name: str, value: str | None) -> int:
    require((value or "").isdecimal(), f"the environment's {name} is {value!r}", "Give --shards N and --shard 0 to N - 1.")
    return int(value or 0)


def _watched(out: Path, share: Share, devices: Sequence[str]) -> AbstractContextManager[Watcher]:
    """The run of this process; of processes that run together the first one's, which is that of all."""
    folder, together = run_folder(out), share.joined
    own = folder if together or not share.index else folder / f"shard-{share.index:05d}"
    return recorded_by_first(own, "encode", not (together and share.index), devices)


def _report(encoded: Encoded, out: Path) -> None:
    _list([f"passed over: {reason}" for _, reason in encoded.skipped], f"all in {record_path(out)}")
    already = "done already: " if encoded.already else ""
    found = f"{already}{encoded.rows} photographs embedded in {out}, {len(encoded.skipped)} passed over"
    print(f"{found}; {record_path(out)} names them")


def _list(lines: Sequence[str], where: str) -> None:
    for line in lines[:_SHOWN]:
        print(line)
    if len(lines) > _SHOWN:
        print(f"and {len(lines) - _SHOWN} more: {where}")


def _name_rows(embeddings: Path, rows: list[int]) -> None:
    record = read_record(embeddings)
    names = record.get("names", []) if record else []
    lines = [f"row {row}: {names[row]}" if row < len(names) else f"row {row}" for row in rows]
    _list(lines, "further down in the picture")
