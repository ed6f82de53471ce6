"""ResNet-1D is the network of the table in spec lap-experiments 6.2."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lapwing.errors import UserError
from lapwing.models import models
from lapwing.training.stack import Stack

MODEL = models.get("resnet1d")
SMALL = {"channels": (4, 4, 4, 4), "kernel": 7}


def built(samples: int, leads: int = 12, **options: object) -> nn.Module:
    return MODEL.build(MODEL.Options(**options), (leads, samples), 2)


@pytest.mark.parametrize(
    ("samples", "lengths", "strides", "paddings"),
    [
        (1000, [1000, 250, 62, 15, 3], [4, 4, 4, 5], [6, 5, 5, 5]),
        (256, [256, 64, 16, 4, 1], [4, 4, 4, 4], [6, 6, 6, 6]),
    ],
)
def test_lengths_strides_and_paddings_are_those_of_the_table(
    samples: int, lengths: list[int], strides: list[int], paddings: list[int]
) -> None:
    network = built(samples)
    assert [block.convolution_2.stride[0] for block in network.blocks] == strides
    assert [block.pool.stride for block in network.blocks] == strides
    assert [block.padding for block in network.blocks] == paddings
    assert [block.pool_padding for block in network.blocks] == [0, 0, 0, 0]
    found: list[int] = []
    network.stem.register_forward_hook(lambda layer, inputs, output: found.append(output.shape[-1]))
    for block in network.blocks:
        block.register_forward_hook(lambda layer, inputs, output: found.append(output[0].shape[-1]))
    assert network(torch.rand(2, 12, samples)).shape == (2, 2)
    assert found == lengths


def test_parameters_are_those_of_the_table() -> None:
    """Convolutions without bias, batch norms without weights, one linear layer."""
    shapes = {name: tuple(parameter.shape) for name, parameter in built(1000).named_parameters()}
    expected = {"stem.0.weight": (12, 12, 15), "classifier.weight": (2, 180), "classifier.bias": (2,)}
    for number, (features, wide) in enumerate([(12, 24), (24, 36), (36, 48), (48, 60)]):
        expected |= {
            f"blocks.{number}.convolution_1.weight": (wide, features, 15),
            f"blocks.{number}.convolution_2.weight": (wide, wide, 15),
            f"blocks.{number}.shortcut.weight": (wide, features, 15),
        }
    assert shapes == expected


def test_the_next_shortcut_starts_from_the_main_branch_before_the_sum() -> None:
    block = built(256).blocks[0].eval()
    inputs = torch.randn(2, 12, 256)
    with torch.no_grad():
        outputs, main = block(inputs, inputs)
        _, same = block(inputs, torch.randn(2, 12, 256))
        shortcut = block.shortcut(nn.functional.max_pool1d(inputs, 4))
    assert torch.equal(main, same)  # the shortcut has no part in it
    torch.testing.assert_close(outputs, block.norm_2(main + shortcut).relu())


def test_every_parameter_learns() -> None:
    network = built(256, **SMALL)
    nn.functional.cross_entropy(network(torch.randn(8, 12, 256)), torch.arange(8) % 2).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(256, 6000), kernel=st.integers(3, 12).map(lambda half: 2 * half + 1))
def test_every_length_from_256_on_fits(samples: int, kernel: int) -> None:
    with torch.device("meta"):
        network = built(samples, 3, kernel=kernel)
        assert network.eval()(torch.empty(1, 3, samples)).shape == (1, 2)


@pytest.mark.parametrize("shape", [(12, 255), (12,), (3, 32, 32)])
def test_what_is_no_signal_of_256_samples_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"model resnet1d needs signals .* at least 256 samples"):
        MODEL.check(MODEL.Options(), shape, "classification")


@pytest.mark.parametrize(("kernel", "why"), [(14, "an odd number"), (5, "greater than or equal to 7")])
def test_a_kernel_without_a_middle_or_with_gaps_is_refused(kernel: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        MODEL.Options(kernel=kernel)


@pytest.mark.parametrize("mode", [True, False])
def test_it_gives_the_same_numbers_alone_and_together(mode: bool) -> None:
    inputs = torch.randn(2, 5, 12, 256, dtype=torch.float64)
    found: dict[str, dict[str, Tensor]] = {}
    for backend in ("vmap", "loop"):
        stack = Stack(lambda: built(256, **SMALL), [1, 2], backend=backend, dtype=torch.float64)
        stack.train(mode)
        outputs = [stack(inputs) for _ in range(2)][-1]
        outputs.square().sum().backward()
        found[backend] = {**stack.buffers, "outputs": outputs}
        found[backend] |= {f"gradient of {key}": p.grad for key, p in stack.parameters.items()}
    for part, expected in found["loop"].items():
        torch.testing.assert_close(found["vmap"][part], expected, rtol=0, atol=1e-12)
