"""What was published around the paper, and what is known of it. What is not known is said to be unknown, never guessed."""

from __future__ import annotations

import dataclasses

from segmentation.errors import LanternError

UNKNOWN = "unknown"
_AUTHORS = "https://github.com/anvoynov/BigGANsAreWatching"
_SCRIPT = f"the authors' download_all.sh, {_AUTHORS}"
_README = f"the authors' README, {_AUTHORS}"
_TORCH = (".pth", ".pt")
MODULES = {f"bigbigan-{encoder}": f"https://tfhub.dev/deepmind/bigbigan-{encoder}/1" for encoder in ("resnet50", "revnet50x4")}
"""The TF-Hub modules of the paper by name, and their handles; they differ in the encoder."""
GENERATOR, MODULE, DIRECTION, EMBEDDINGS, UNET = "generator", "module", "direction", "embeddings", "U-Net"
ARCHIVE = "https://drive.google.com/file/d/1VCIhVAlBS7wOvoOQKYVHNHO3gLr-359B/view"
"""One archive of embeddings, generator and segmenters, named in a README of the authors' code; no direct download."""


@dataclasses.dataclass(frozen=True)
class Known:
    """One published file or module."""

    file: str
    """The name it was published under; a module's is that of its archive."""
    what: str
    """What it is, in words."""
    kind: str
    """What :mod:`explorer.weights.checks` has to find in it: one of the kinds named above."""
    named_by: str
    """Where its address was read."""
    width: int | None = None
    """Width of the network, of a generator or a U-Net."""
    address: str | None = None
    """Where it is downloaded from; None: unknown."""
    mirrors: tuple[str, ...] = ()
    """Copies by others, for ``--url``; never taken unasked."""
    size: int | None = None
    """Bytes of the download, where known exactly."""
    size_note: str = UNKNOWN
    """What is known of the size otherwise."""
    licence: str = UNKNOWN
    """The licence, where it is known."""
    sha256: str | None = None
    """Checksum of the download, where it was published."""
    suffixes: tuple[str, ...] = _TORCH
    """What a local copy may end in; the first is that of the published form."""
    packed: bool = False
    """Whether the download is an archive of a folder."""


def _dropbox(key: str, file: str) -> str:
    # Without dl=1 the address may answer with a page that shows the file.
    return f"https://www.dropbox.com/s/{key}/{file}?dl=1"


def _module(name: str, encoder: str) -> Known:
    handle = MODULES[name]
    return Known(
        file=f"{name}_1.tar.gz",
        what=f"BigBiGAN as its makers published it, with the encoder {encoder}: a TF-Hub module, a folder of TensorFlow files",
        kind=MODULE,
        named_by=f"its handle, {handle}, and TF Hub's rule for archives",
        address=f"{handle}?tf-hub-format=compressed",
        licence=f"{UNKNOWN}: the source of the module's page names none",
        suffixes=(".tar.gz", ".tgz", ".tar"),
        packed=True,
    )


def _embeddings(data: str, key: str, file: str, size_note: str = UNKNOWN) -> Known:
    return Known(
        file=file,
        what=f"latent codes of the images of {data}, by BigBiGAN's encoder: an array (N, 120)",
        kind=EMBEDDINGS,
        named_by=_SCRIPT,
        address=_dropbox(key, file),
        size_note=size_note,
        suffixes=(".npy",),
    )


def _unet(data: str, file: str, address: str | None = None) -> Known:
    return Known(
        file=file,
        what=f"the authors' U-Net, trained on samples around the embeddings of {data}",
        kind=UNET,
        named_by=_README if address else f"none; perhaps the archive {ARCHIVE}",
        width=64,
        address=address,
        size_note=f"{UNKNOWN}; its 13.4 million weights alone are 54 MB",
    )


KNOWN: dict[str, Known] = {
    "bigbigan": Known(
        file="BigBiGAN_x1.pth",
        what="BigBiGAN's generator, ported to PyTorch by the paper's authors; a converted .safetensors may stand in for it",
        kind=GENERATOR,
        named_by=_SCRIPT,
        width=96,
        address=_dropbox("9w2i45h455k3b4p", "BigBiGAN_x1.pth"),
        mirrors=("https://github.com/greeneggsandyaml/tmp/releases/download/0.0.1/BigBiGAN_x1.pth",),
        size_note=f"{UNKNOWN}; its 70.4 million weights alone are 282 MB",
        licence=f"{UNKNOWN}: the authors point to the module's page, whose source names none",
        suffixes=(*_TORCH, ".safetensors"),
    ),
    "bigbigan-resnet50": _module("bigbigan-resnet50", "ResNet-50"),
    "bigbigan-revnet50x4": _module("bigbigan-revnet50x4", "RevNet-50 x4"),
    "bg-direction": Known(
        file="bg_direction.pth",
        what="the paper's saliency-lighting direction for BigBiGAN: 120 numbers",
        kind=DIRECTION,
        named_by=_SCRIPT,
        address=_dropbox("np74kmkohkbx76t", "bg_direction.pth"),
        size_note=f"{UNKNOWN}; 120 numbers",
    ),
    "embeddings-imagenet": _embeddings(
        "ImageNet", "y5qr9wwtop7ot6b", "BigBiGAN_ImageNet_z.npy", "about 551 MB, by the authors' README"
    ),
    "embeddings-cub": _embeddings("CUB-200-2011 (train)", "qgacaoo7urh35j9", "BigBiGAN_CUB_train_z.npy"),
    "embeddings-duts": _embeddings("DUTS-TR", "b77in0vuc8jy1yf", "BigBiGAN_DUTS-TR_z.npy"),
    "embeddings-flowers": _embeddings("Flowers (train)", "fmw2g54xqli59ck", "BigBiGAN_Flowers_train_z.npy"),
    "unet-imagenet": _unet("ImageNet", "u_net_imagenet.pth", _dropbox("3nty6x7fwof7xyv", "u_net_imagenet.pth")),
    "unet-cub": _unet("CUB-200-2011", "u_net_cub2002011.pth"),
    "unet-flowers": _unet("Flowers", "u_net_flowers.pth"),
}
"""What was published, by the names that the command line uses."""


def find(name: str) -> tuple[str, Known]:
    """The entry of that name, or of that published file name, with its name; :class:`LanternError` if there is none."""
    for own, known in KNOWN.items():
        if name in (own, known.file):
            return own, known
    raise LanternError(f"there are no weights named {name!r}", f"Choose one of: {', '.join(KNOWN)}.")
