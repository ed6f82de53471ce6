"""How precisely networks are computed: the type of what is kept, what products may lose, what may vary.

float32 is the reference, and torch does not give it by itself: it has cuDNN round convolutions to TF32.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

import torch

from lapwing.errors import UserError
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


CUBLAS, REPEATABLE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""The variable that cuBLAS reads when it starts, and the value with which sums are the same every time."""


@contextlib.contextmanager
def deterministic(asked: bool) -> Iterator[None]:
    """Where asked for, only operations that give the same bits every time on the same device.

    What was set before comes back when the block ends. It must begin before the process first uses a GPU.

    Raises:
        UserError: an operation in the block has no such form.
    """
    if not asked:
        yield
        return
    cudnn, workspace = torch.backends.cudnn, os.environ.get(CUBLAS)
    mode, search = torch.get_deterministic_debug_mode(), (cudnn.deterministic, cudnn.benchmark)
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False  # no search for the algorithm that is fastest now
        os.environ[CUBLAS] = REPEATABLE
        yield
    except RuntimeError as error:
        if "not have a deterministic implementation" not in str(error):
            raise
        raise UserError(_without_a_form(str(error).split()[0])) from error
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.deterministic, cudnn.benchmark = search
        os.environ.pop(CUBLAS)
        if workspace is not None:
            os.environ[CUBLAS] = workspace


def _without_a_form(operation: str) -> str:
    return (
        f"config: deterministic is true, and PyTorch's {operation} cannot give the same bits every time on "
        "this device; set deterministic: false or device: cpu, or leave out what needs it by only."
    )
