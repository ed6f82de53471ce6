"""How precisely networks are computed, and how many of them at once."""

import pytest
import torch
from torch import nn

from lapwing.models import models
from lapwing.training.layers import Layers, Linear
from lapwing.training.precision import products_in
from lapwing.training.settings import Precision
from lapwing.training.stack import Stack, choose_backend
from tests.training.conftest import SEEDS, run
from tests.training.test_company import METHODS


def rounding() -> tuple:
    """What torch would do with the products of an accelerator."""
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision


def seen_by(training) -> set[tuple]:
    """What is set while networks of a training run, forwards and backwards; it is filled as it trains."""
    seen = set()
    module = training.networks[0].module
    module.register_forward_hook(lambda *ignored: seen.add(("forward", rounding())))
    before = type(training.optimisers[0]).step
    training.optimisers[0].step = lambda active: (
        seen.add(("backward", rounding())),
        before(training.optimisers[0], active),
    )
    return seen


@pytest.mark.parametrize(
    ("precision", "asked"), [("float32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32"), ("float64", "ieee")]
)
def test_products_are_rounded_only_where_that_is_asked_for(make, precision, asked):
    before = rounding()
    training, test = make(SEEDS[:1], backend="loop", precision=precision)
    seen = seen_by(training)
    training.train_epoch(test)
    next(training.full_pass())
    training.evaluate(test)
    assert seen == {("forward", (asked, asked)), ("backward", (asked, asked))}
    assert rounding() == before


def test_what_was_set_comes_back_after_an_error_and_whoever_set_it():
    before = rounding()
    with pytest.raises(ArithmeticError), products_in("tf32"):
        raise ArithmeticError
    assert rounding() == before
    legacy = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        with products_in("float32"):
            assert rounding() == ("ieee", "ieee")
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = legacy


def trained(make, precision: Precision, network: str, backend: str, method: dict):
    training, test = make(SEEDS[:2], precision=precision, network=network, backend=backend, **method)
    return training, run(training, test)


def test_tf32_is_float32_on_a_cpu(make):
    first, second = (
        trained(make, precision, "norm", "loop", METHODS["lap loss"])[1] for precision in ("float32", "tf32")
    )
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("method", ["standard", "lap loss", "idpa", "coteaching"])
@pytest.mark.parametrize(
    ("network", "backend"), [("mlp", "native"), ("mlp", "vmap"), ("mlp", "loop"), ("norm", "loop")]
)
def test_bf16_trains_nearly_as_float32_does(make, network, backend, method):
    (exact, expected), (half, found) = (
        trained(make, precision, network, backend, METHODS[method]) for precision in ("float32", "bf16")
    )
    for name, tensor in half.state().items():
        assert tensor.dtype == exact.state()[name].dtype
    losses = [measured[0]["train/loss"] for measured in (expected, found)]
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.02, atol=0)


def test_networks_run_in_bfloat16_and_losses_in_float32(make):
    training, _ = make(SEEDS[:1], precision="bf16", backend="loop")
    inside = []
    layer = next(layer for layer in training.networks[0].module.modules() if isinstance(layer, nn.Linear))
    layer.register_forward_hook(lambda module, inputs, output: inside.append(output.dtype))
    batch = next(training.batches())
    outputs = training.networks[0](batch.inputs)
    assert inside == [torch.bfloat16]
    assert outputs.dtype == training.sample_losses(outputs, batch.targets).dtype == torch.float32


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_network_gives_the_same():
    plain, compiled = (Stack(lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), [1]) for _ in "ab")
    graphs = []
    compiled.compile(backend=lambda graph, inputs: (graphs.append(graph), graph.forward)[1])
    inputs = torch.rand(1, 4, 3)
    torch.testing.assert_close(compiled(inputs), plain(inputs))
    assert graphs


def test_texts_are_read_in_bf16_too(make):
    words = torch.randint(0, 9, (1, 4, 12), dtype=torch.int32)
    build = lambda: models.get("lstm").build(models.get("lstm").Options(), (12,), 2, 9)  # noqa: E731
    exact, half = (Stack(build, [1], autocast=autocast) for autocast in (False, True))
    for stack in (exact, half):
        stack.train(False)
    assert half(words).dtype == torch.float32
    torch.testing.assert_close(half(words), exact(words), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("build", [nn.Linear, lambda *size: Layers({"only": Linear(*size)})])
def test_large_networks_run_one_after_another(build, device):
    with torch.device("meta"):
        small, large = build(1000, 1000), build(2500, 2500)
    assert choose_backend(small, torch.device(device))[1]
    assert choose_backend(large, torch.device(device)) == ("loop", False)
