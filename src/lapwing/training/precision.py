"""How precisely networks are computed: the type of what is kept, and what products may lose on the way.

float32 is the reference, and torch does not give it by itself: it has cuDNN round convolutions to TF32.
"""

import contextlib
from collections.abc import Iterator, Mapping

import torch

from lapwing.training.settings import Precision

DTYPES: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "tf32": torch.float32,
    "bf16": torch.float32,
}
"""The type of parameters, inputs and losses."""


@contextlib.contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Products and convolutions of an accelerator in float32 as it is, or in TF32 where that is asked for.

    What was set before comes back when the block ends. A CPU has no TF32.
    """
    switches = _switches()
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, values in switches:
            setattr(owner, name, values[precision == "tf32"])
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def _switches() -> list[tuple[object, str, tuple[object, object]]]:
    """Owner and name of what decides about TF32, with its values for no and yes."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        # mypy knows the torch of the lock only, and not each of these
        owners = (matmul, cudnn.conv, cudnn.rnn)  # type: ignore[attr-defined,unused-ignore]
        return [(owner, "fp32_precision", ("ieee", "tf32")) for owner in owners]
    return [(owner, "allow_tf32", (False, True)) for owner in (matmul, cudnn)]  # torch before 2.9
