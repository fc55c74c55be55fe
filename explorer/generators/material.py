"""Where the objects of photographs are, as a small network sees them that nobody gave a mask.

What stands out by colour (:mod:`segmentation.baselines.standing_out`) makes ragged masks, wrong in another way in each
photograph. A U-Net that is taught by them learns what they have in common, since it cannot learn their errors by heart. What it
sees and the colours together make the masks that teach the next one. No label and no mask drawn by a person takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.generators.batches import Batches
from explorer.generators.lighting import fits
from explorer.generators.photographs import to_signed
from explorer.generators.seeds import Draws, source_for
from segmentation.augmentation import AugmentationConfig, augment_pairs
from segmentation.baselines.border_colour import otsu_masks
from segmentation.baselines.standing_out import colour_saliency, solid
from segmentation.precision import autocast, placed
from segmentation.unet import UNet, UNetConfig, saliency_logits

_CHUNK = 256
_CHANGES = AugmentationConfig(flips=True, crop=0.8, stretch=1.25, colour=0.1)
_RATE = 2e-3


class Objects(NamedTuple):
    """What was found."""

    masks: Tensor
    """Masks, bool (N, R, R) on the CPU, of the objects in the photographs that are fitted to."""
    network: UNet | None
    """The network that sees them so; None where colour alone does."""


def find_objects(batches: Batches, stop: Callable[[], bool] = lambda: False) -> Objects | None:
    """The objects in the photographs of ``batches`` that are fitted to; None once ``stop`` says so.

    How, is said by the configuration of ``batches`` (``material``). Where no photograph has anything of the size of an object
    that stands out, the masks are those of colour.
    """
    colours = torch.cat([colour_saliency(to_signed(part.cpu())) for part in batches.photographs.split(_CHUNK)])
    masks, net = _cut(colours), None
    for number in range(batches.config.material.rounds):
        if not fits(masks).any():
            break
        net = _taught(batches, masks, number, stop)
        if net is None:
            return None
        logits = _seen(net, batches)
        last = number + 1 == batches.config.material.rounds
        masks = solid(logits > 0) if last else _cut(colours + logits.sigmoid())
    return Objects(masks, net)


def _cut(saliency: Tensor) -> Tensor:
    return torch.cat([solid(otsu_masks(part)) for part in saliency.split(_CHUNK)])


def _taught(batches: Batches, masks: Tensor, number: int, stop: Callable[[], bool]) -> UNet | None:
    """A U-Net taught by the photographs and their ``masks`` (N, R, R), where these have the size of an object."""
    config, device = batches.config, batches.device
    own, source = config.material, source_for(config.seed, "material", number)
    torch.manual_seed(source.initial_seed())
    net = placed(UNet(UNetConfig(own.width)), device).train()
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    telling = fits(masks).float()
    for step in range(own.steps):
        if stop():
            return None
        index = batches.index(own.batch_size, Draws(source)).cpu()
        photographs = batches.photographs[index.to(batches.photographs.device)].cpu()
        images, goals = augment_pairs(to_signed(photographs), masks[index], _CHANGES, source)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 - step / own.steps)
        with autocast(device, config.precision):
            logits = saliency_logits(net(images.to(device, memory_format=torch.channels_last)).float())
        weights = telling[index].to(device)[:, None, None].expand_as(logits)
        loss = F.binary_cross_entropy_with_logits(logits, goals.to(device).float(), weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


@torch.no_grad()
def _seen(net: UNet, batches: Batches) -> Tensor:
    """The logits (N, R, R), on the CPU, that ``net`` gives the photographs as they are and mirrored, on average."""
    net.eval()
    found = []
    for part in batches.photographs.split(_CHUNK):
        images = to_signed(part.to(batches.device)).contiguous(memory_format=torch.channels_last)
        with autocast(batches.device, batches.config.precision):
            logits, mirrored = (saliency_logits(net(view).float()) for view in (images, images.flip(3)))
        found.append((logits + mirrored.flip(2)).cpu() / 2)
    return torch.cat(found)
