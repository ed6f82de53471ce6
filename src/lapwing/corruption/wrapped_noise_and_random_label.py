"""Some corrupt sources send noisy images, the others random labels (spec lap-experiments 6.9, ImageNet64).

The published noise is added to bytes, which wrap around: 250 + 10 is 4. Images of bytes are too many to keep
an altered copy of, so each is altered when its batch is made, as a function of (seed, number of the row).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.corruption.sources import Sources
from lapwing.errors import UserError
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

LOWEST, COUNT = -64, 128
"""Noise is one of the 128 integers from -64 to 63, each as likely."""


class Options(Closed):
    """Who is corrupted how."""

    noisy: int = Field(default=2, ge=0)
    """The first corrupt sources that are drawn, whose images are noisy; the others' labels are random."""
    overflow: Literal["wrap", "clip"] = "wrap"
    """What becomes of values beyond 0 to 255: `wrap`, as published, goes on at the other end."""


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if classes is None or len(input_shape) != 3:
        raise UserError(
            "wrapped_noise_and_random_label needs images (channels, height, width) of classes, "
            f"and inputs have the shape {input_shape}."
        )


def _check_sources(options: Options, sources: Sources, further: Mapping[str, str]) -> None:
    if options.noisy > sources.corrupt:
        raise UserError(
            f"wrapped_noise_and_random_label: options.noisy: no more than the {sources.corrupt} corrupt "
            f"sources can be noisy (it is {options.noisy})."
        )


def _decide(options: Options, samples: Samples) -> Decision:
    is_noisy = samples.is_corrupted & np.isin(samples.source, samples.corrupt_sources[: options.noisy])
    generator = np.random.default_rng(samples.corruption_seed)
    drawn = generator.integers(samples.classes or 1, size=len(samples.targets))
    targets = np.where(samples.is_corrupted & ~is_noisy, drawn, samples.targets)
    return Decision(targets, {"input_rule": samples.rule()}, is_altered=is_noisy)


def _alter_rows(options: Options, seed: int, rows: Tensor, index: Tensor) -> Tensor:
    """Noise on images uint8 [n, C, H, W] with the numbers `index` [n]."""
    import torch

    from lapwing.training.randomness import random_words

    if rows.dtype != torch.uint8:
        raise UserError(f"wrapped_noise_and_random_label needs images of bytes, and these are {rows.dtype}.")
    values = math.prod(rows.shape[1:])
    words = torch.arange((values + 3) // 4, dtype=torch.int32, device=rows.device)
    key = torch.full((), seed, dtype=torch.int32, device=rows.device)
    drawn = random_words(key, index.to(torch.int32), words).view(torch.uint8)[:, :values] % COUNT
    if options.overflow == "wrap":
        return rows + (drawn + LOWEST % 256).view(rows.shape)  # bytes wrap
    noisy = rows.to(torch.int16) + (drawn.to(torch.int16) + LOWEST).view(rows.shape)
    return noisy.clamp_(0, 255).to(torch.uint8)


CORRUPTION = Corruption(
    title="Input and Label Noise",
    version=1,
    Options=Options,
    check_data=_check,
    check_sources=_check_sources,
    decide=_decide,
    alter_rows=_alter_rows,
)
