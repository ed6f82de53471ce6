"""How precisely networks are computed, what may vary, and how many of them at once."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lapwing.errors import UserError
from lapwing.models import models
from lapwing.training.data import Replica
from lapwing.training.job import Trainee, prepare
from lapwing.training.layers import Layers, Linear
from lapwing.training.precision import deterministic, products_in
from lapwing.training.resident import Rows
from lapwing.training.settings import Precision
from lapwing.training.stack import Stack, choose_backend
from tests.training.conftest import SEEDS, run, settings_of
from tests.training.parts import cell_of, train
from tests.training.test_company import METHODS


def rounding() -> tuple:
    """What torch would do with the products of an accelerator: "ieee" or "tf32" each."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision, cudnn.conv.fp32_precision
    return tuple("tf32" if owner.allow_tf32 else "ieee" for owner in (matmul, cudnn))  # torch before 2.9


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_images_lie_channels_last_in_all_convolutions(channels, precision):
    """Channels first a step takes 1.2 times as long in float32, and 1.7 times in bfloat16."""
    network = {"name": "conv3net", "version": 1, "options": {"channels": (4, 4)}}
    images = np.random.default_rng(0).integers(0, 256, (40, channels, 12, 12), dtype=np.uint8)
    rows, few = Rows(images, 1 / 255), Replica(3, np.arange(40), np.arange(40) % 10)
    settings = settings_of(model=network, precision=precision)
    trainee = Trainee(settings, rows, rows, few.targets, {3: few}, classes=10)
    training, held_out = prepare(trainee, [3], torch.device("cpu"))
    last = []
    for layer in training.networks[0].module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda *call: last.append(call[-1].is_contiguous(memory_format=torch.channels_last))
            )
    training.train_epoch(held_out.test)
    assert len(last) == 2 * (2 + 1)  # convolutions, in two steps and a test
    assert all(last)


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


# -- the same bits every time -----------------------------------------------------------------------


def switches() -> tuple:
    """All that decides whether operations may vary."""
    cudnn = torch.backends.cudnn
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    return torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark, workspace


def test_deterministic_training_has_the_same_numbers_on_a_cpu_and_says_so(tmp_path):
    before, cells = switches(), [cell_of(seeds=[2, 4]), cell_of(method="lap", options={"form": "loss"})]
    metrics, sources, runs = train(tmp_path, cells, device="cpu")
    assert {made["deterministic"] for made in runs} == {False}
    again, sources_again, runs = train(tmp_path, cells, finished="again", device="cpu", deterministic=True)
    assert {(made["trained"], made["deterministic"]) for made in runs} == {("now", True)}
    _, _, runs = train(tmp_path, cells, device="cpu", deterministic=True)
    assert {(made["trained"], made["deterministic"]) for made in runs} == {("found finished", False)}
    pd.testing.assert_frame_equal(again, metrics, check_exact=True)
    pd.testing.assert_frame_equal(sources_again, sources, check_exact=True)
    assert switches() == before


def test_every_process_of_a_deterministic_job_is_so(tmp_path):
    cell = cell_of(layout="mixed", epochs=1, seeds=[2])
    _, _, runs = train(tmp_path, [cell], device="cpu", processes=2, deterministic=True)
    assert [(made["processes"], made["deterministic"]) for made in runs] == [(2, True)]


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_what_may_vary_is_as_it_was_after_a_deterministic_block(monkeypatch, workspace):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = switches()
    seen = []
    with pytest.raises(ZeroDivisionError), deterministic(True):
        seen.append(switches()) or 1 / 0
    assert seen == [(2, True, False, ":4096:8")]
    assert switches() == before
    with deterministic(False):
        assert switches() == before


def test_an_operation_that_cannot_but_vary_is_named():
    values, index = torch.zeros(3), torch.tensor([1, 1])
    sentence = r"deterministic is true, and PyTorch's put_ cannot .* device: cpu"
    with pytest.raises(UserError, match=sentence), deterministic(True):
        values.put_(index, torch.ones(2))
    with pytest.raises(RuntimeError, match="no such thing"), deterministic(True):
        raise RuntimeError("no such thing")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("build", [nn.Linear, lambda *size: Layers({"only": Linear(*size)})])
def test_large_networks_run_one_after_another(build, device):
    with torch.device("meta"):
        small, large = build(1000, 1000), build(2500, 2500)
    assert choose_backend(small, torch.device(device))[1]
    assert choose_backend(large, torch.device(device)) == ("loop", False)
