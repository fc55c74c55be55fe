"""The command that says which benchmarks are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from segmentation.datasets import few
from segmentation.layouts import Survey, survey


def datasets(action: Annotated[Literal["list"], tyro.conf.Positional], root: Path) -> None:
    """Which published data sets lie under a folder, how many images they have, and where one gets the others.

    Args:
        action: list.
        root: folder in which the data sets lie in their published folders; a folder in it with images/ and masks/ is one too.
    """
    lines = survey(root)
    for line in lines:
        for text in described(line):
            print(text)
    print(f"{sum(line.found is not None for line in lines)} of {len(lines)} data sets are there")


def described(line: Survey) -> list[str]:
    """``line`` in words: name, counts, what does not match, what is missing and where one gets it."""
    if line.problem:
        head = f"{line.name}: cannot be read: {line.problem}"
    elif line.found is None:
        head = f"{line.name}: not there"
    else:
        of = "" if line.expected is None else f" of {line.expected}"
        head = f"{line.name}: {line.found}{of} images with {line.kind if line.kind == 'boxes' else 'masks'} in {line.folder}"
    texts = [head]
    texts += [f"    {len(line.missing)} images without their truth: {few(line.missing)}"] if line.missing else []
    texts += [f"    {len(line.spare)} masks without an image: {few(line.spare)}"] if line.spare else []
    texts += [f"    {line.remedy}"] if line.remedy else []
    return texts
