"""A pair of images to a mask: the pixels that the shift made brighter."""

from __future__ import annotations

from torch import Tensor

from segmentation.errors import require

GREY_WEIGHTS = (0.2989, 0.5870, 0.1140)


def check_pairs(images: Tensor, shifted: Tensor) -> None:
    """Refuse ``images`` and ``shifted`` that are not two batches of the same shape (B, 3, H, W), by a :class:`LanternError`."""
    require(
        images.ndim == 4 and images.shape[1] == 3,
        f"the images have the shape {tuple(images.shape)}",
        "Give a batch of colour images, (B, 3, H, W).",
    )
    require(
        images.shape == shifted.shape,
        f"the images have the shape {tuple(images.shape)}, the shifted images {tuple(shifted.shape)}",
        "Give two batches of the same shape: G(z) and G(z + h) of the same latent codes.",
    )


def grey(images: Tensor) -> Tensor:
    """Grey levels (B, H, W), float32, of ``images`` (B, 3, H, W); the weights sum to 0.9999, so [-1, 1] stays [-1, 1].

    Half precision is widened first: rounded grey levels would be equal where the colours are not.
    """
    red, green, blue = images.float().unbind(1)
    levels = GREY_WEIGHTS[0] * red
    levels += GREY_WEIGHTS[1] * green
    levels += GREY_WEIGHTS[2] * blue
    return levels


def raw_masks(images: Tensor, shifted: Tensor) -> Tensor:
    """Masks M = [grey G(z + h) > grey G(z)], bool (B, H, W), of the pairs ``images`` and ``shifted``, both (B, 3, H, W).

    Errors: :class:`LanternError` if the shapes differ. Source: the paper, section 3.1.
    """
    check_pairs(images, shifted)
    return grey(shifted) > grey(images)
