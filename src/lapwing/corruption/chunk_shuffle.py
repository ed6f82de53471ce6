"""The input is cut into pieces that are put together in another order, each sample in its own.

An image is cut into strips of columns and strips of rows, all channels alike; these are no free
tiles (lap-core 4.4, quirk Q22).
"""

from typing import Literal

import numpy as np
from pydantic import Field

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.corruption.sources import SEED_LIMIT
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import Closed


class Options(Closed):
    """What is cut, and into how many pieces."""

    view: Literal["vector", "image"] = "image"
    """`image`: rows and columns of [C, H, W]; `vector`: all values in one line, whatever their shape."""
    pieces: int = Field(default=10, ge=2)
    """Per axis."""


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if options.view == "image" and len(input_shape) != 3:
        raise UserError(
            "chunk_shuffle: options.view: an image has channels, rows and columns, and an input here "
            f"has the shape {input_shape}; use vector."
        )
    axes = input_shape[1:] if options.view == "image" else (int(np.prod(input_shape)),)
    if options.pieces > min(axes):
        raise UserError(
            f"chunk_shuffle: options.pieces: {min(axes)} values cannot be cut into {options.pieces} pieces."
        )


def _decide(options: Options, samples: Samples) -> Decision:
    return Decision(samples.targets, {"input_rule": samples.rule()})


def _alter(options: Options, seed: int, inputs: Array, positions: Array) -> Array:
    if options.view == "image":
        return _alter_images(options.pieces, seed, inputs, positions)
    return _alter_vectors(options.pieces, seed, inputs.reshape(len(inputs), -1), positions).reshape(
        inputs.shape
    )


def _alter_vectors(pieces: int, seed: int, inputs: Array, positions: Array) -> Array:
    """Rearrange [n, L]."""
    cut = _cut(inputs.shape[1], pieces)
    altered = np.empty_like(inputs)
    for place, position in enumerate(positions.tolist()):
        order = np.random.default_rng(position + seed).permutation(pieces)
        altered[place] = inputs[place, _joined(cut, order)]
    return altered


def _alter_images(pieces: int, seed: int, inputs: Array, positions: Array) -> Array:
    """Rearrange [n, C, H, W]."""
    rows, columns = (_cut(length, pieces) for length in inputs.shape[2:])
    altered = np.empty_like(inputs)
    for place, position in enumerate(positions.tolist()):
        generator = np.random.default_rng(position + seed)
        generator = np.random.default_rng(generator.integers(1, SEED_LIMIT, size=2))
        columns_joined = _joined(columns, generator.permutation(pieces))
        rows_joined = _joined(rows, generator.permutation(pieces))
        altered[place] = inputs[place][:, rows_joined[:, None], columns_joined]
    return altered


def _cut(length: int, pieces: int) -> list[Array]:
    """The numbers 0 … length − 1 in pieces of almost equal size."""
    cuts = np.linspace(0, length, pieces + 1).astype(np.int64)
    return np.split(np.arange(length), cuts[1:-1])


def _joined(cut: list[Array], order: Array) -> Array:
    return np.concatenate([cut[piece] for piece in order.tolist()])


CORRUPTION = Corruption(
    title="Chunk Shuffle", version=1, Options=Options, check_data=_check, decide=_decide, alter=_alter
)
