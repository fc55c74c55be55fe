"""What a pocket generator is fitted by: how photographs go through it, and what is counted of what comes back."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.generators.pocket import PocketGenerator
from explorer.generators.projected import Features
from explorer.generators.seeds import Draws
from segmentation.processes import Alone


def draw_appearances(own: PocketGenerator, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Appearances of ``images`` (B, 3, R, R), drawn as the encoder is unsure of them, and their mean divergence in nats.

    The divergence is that of the encoder's Gaussian from the one that samples are drawn from; a constant of the latter is left
    out.
    """
    mean, log_variance = own.appearances(images)
    drawn = mean + draws.normal(*mean.shape) * (0.5 * log_variance).exp()
    variance = log_variance.exp()
    away = own.standardise(mean).pow(2).sum(1)
    if own.appearance is not None:
        variance = variance @ own.appearance_inverse.pow(2)
    return drawn, 0.5 * (away + (variance - 1 - log_variance).sum(1)).mean()


def through_codes(own: PocketGenerator, maps: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Standardised ``maps`` (B, C, 8, 8) as they come back from codes drawn for them; the codes' mean divergence in nats."""
    mean, log_variance = own.encoder(maps)
    codes = mean + draws.normal(*mean.shape) * (0.5 * log_variance).exp()
    return own.latent(codes).float(), divergence(mean, log_variance)


def reconstructed(own: PocketGenerator, images: Tensor, maps: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
    """``images``, whose ``maps`` are those of the analysis, by way of codes drawn for them; the two parts' divergences."""
    back, of_codes = through_codes(own, (maps - own.mean) / own.std, draws)
    appearances, of_appearances = draw_appearances(own, images, draws)
    return own.decode(back, appearances), {"divergence": of_codes, "appearance_divergence": of_appearances}


def perceptual_error(features: Features, made: Tensor, images: Tensor, processes: Alone) -> Tensor:
    """Mean squared error of the features of two batches of images, each map's in units of its mean square."""
    with torch.no_grad():
        wanted = [tap.float() for tap in features.taps(images)]
        units = [goal.pow(2).mean() for goal in wanted]
        # The mean of the processes' quotients is not the quotient over all rows.
        processes.average(units)
    compared = zip(features.taps(made), wanted, units, strict=True)
    return torch.stack([(tap.float() - goal).pow(2).mean() / unit for tap, goal, unit in compared]).mean()


def pixel_errors(made: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute error of pixels and half that of their differences to the next; and the squared error."""
    error = made - images
    across, down = error.diff(dim=3).abs().mean(), error.diff(dim=2).abs().mean()
    return error.abs().mean() + 0.5 * (across + down), error.pow(2).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of diagonal Gaussians (B, d) from N(0, I) in nats, the mean over the batch."""
    return 0.5 * (mean.pow(2) + log_variance.exp() - 1 - log_variance).sum(1).mean()


def halved(values: Tensor, count: int) -> Tensor:
    """The mean over the first ``count`` of a batch plus half the mean over the rest."""
    return values[:count].mean() + 0.5 * values[count:].mean()
