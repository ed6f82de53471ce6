"""K replicas of one network: parameters and buffers with a leading axis K, and three ways to run them."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_map

from lapwing.errors import UserError
from lapwing.training.batch_norm import WholeBatchNorm
from lapwing.training.distributed import ALONE, Processes, Shard
from lapwing.training.layers import Dropout, Layers
from lapwing.training.randomness import derive

Backend = Literal["loop", "vmap", "native"]
Build = Callable[[], nn.Module]

Convolution = nn.modules.conv._ConvNd
BatchNorm = nn.modules.batchnorm._BatchNorm
TorchDropout = nn.modules.dropout._DropoutNd


def per_replica(values: Tensor, like: Tensor) -> Tensor:
    """[K] as [K, 1, ..., 1], to broadcast against a stacked tensor."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def has_convolutions(network: nn.Module) -> bool:
    """Whether a convolution is among the layers."""
    return any(isinstance(layer, Convolution) for layer in network.modules())


LARGE = 5_000_000
"""Parameters of a network that fills a device by itself: nothing is gained by running several at once."""


def choose_backend(network: nn.Module, device: torch.device) -> tuple[Backend, bool]:
    """The fastest way to run this architecture on this device, and whether to stack seeds at all.

    Large networks run one seed after another. Layers that offer it run `native`. Convolutions on a CPU run
    one seed after another, too: stacked they are slower (0.4 to 0.9 times). Recurrent layers are unknown to
    `vmap`. The rest runs under `vmap`.
    """
    if sum(parameter.numel() for parameter in network.parameters()) > LARGE:
        return "loop", False
    if isinstance(network, Layers):
        return "native", True
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in network.modules())
    if recurrent or (device.type == "cpu" and has_convolutions(network)):
        return "loop", False
    return "vmap", True


def build_replica(build: Build, seed: int, network: int) -> nn.Module:
    """One network as the seed initialises it.

    The first network of a run draws from the global generator seeded with the run seed itself, as
    published (spec lap-core 6.1); further ones (co-teaching) have streams of their own.

    Raises:
        UserError: a layer draws its dropout masks from torch's global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed if network == 0 else derive(seed, "initialisation", network))
        module = build()
    for name, layer in module.named_modules():
        if isinstance(layer, TorchDropout):
            raise UserError(
                f"layer {name} of the model is torch's {type(layer).__name__}, whose masks depend on which "
                "seeds train together; use lapwing.training.layers.Dropout."
            )
        if isinstance(layer, Dropout):
            layer.key.fill_(derive(seed, "dropout", network, name) & 0x7FFFFFFF)
    return module


def _laid_out(parameter: Tensor, backend: Backend) -> Tensor:
    """Weights as they should lie in memory.

    Those of `native` [K, out, in] lie as [K, in, out], as their gradients come: nothing is copied. Those of
    convolutions [K, out, 1, h, w] in `loop` say that channels come last: images of one channel do not say it,
    and torch would put channels first in all layers that follow.
    """
    if backend == "native" and parameter.ndim == 3:
        return parameter.transpose(1, 2).contiguous().transpose(1, 2)
    if backend == "loop" and parameter.ndim == 5 and parameter.shape[2] == 1:
        return parameter.movedim(2, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 2)
    return parameter


class Stack:
    """K replicas of one network; called with [K, B, ...], returns [K, B, ...], or a tuple of such tensors.

    `loop` runs one replica after another in plain PyTorch, `vmap` runs them together, `native` uses
    the network's own `forward_stacked`. All three share parameters, names and numbers.

    Attributes:
        parameters: name to leaf tensor [K, ...].
        buffers: name to tensor [K, ...].
        calls: training passes so far; decides the dropout masks.
        shard: which samples of a whole batch the inputs of training are, where processes share it.
    """

    def __init__(
        self,
        build: Build,
        seeds: Sequence[int],
        *,
        network: int = 0,
        backend: Backend = "loop",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        autocast: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        """Build K networks.

        Args:
            build: makes one.
            seeds: of the replicas.
            network: which of the networks of a run.
            backend: how they run.
            dtype: of their parameters.
            device: where they are.
            autocast: whether they run in bfloat16 where torch holds it harmless; outputs are float32 again.
            processes: that share the batches of training.
        """
        modules = [build_replica(build, seed, network).to(device, dtype) for seed in seeds]
        parameters, buffers = stack_module_state(modules)
        self.parameters = {
            name: _laid_out(p.detach(), backend).requires_grad_(p.requires_grad)
            for name, p in parameters.items()
        }
        self.buffers = {name: b.detach() for name, b in buffers.items()}
        self.module = copy.deepcopy(modules[0]).to("meta")
        self.backend = backend
        self.replicas = len(modules)
        self.calls = 0
        self.shard: Shard | None = None
        self._processes = processes
        self._autocast = torch.device(device).type if autocast else None
        self._dropouts = [layer for layer in self.module.modules() if isinstance(layer, Dropout)]
        self._kept_away: set[str] = set()

    def __call__(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Any:
        """Run every replica on its own inputs.

        Args:
            inputs: [K, B, ...].
            parameters: other values [K, ...] for the parameters, for what a method only tries out.
        """
        if self.module.training:
            self.calls += 1
            for layer in self._dropouts:
                layer.call, layer.shard = self.calls, self.shard
        parameters = self.parameters if parameters is None else parameters
        buffers = {name: b for name, b in self.buffers.items() if name not in self._kept_away}
        if self._autocast is None:
            return self._run(parameters, buffers, inputs)
        with torch.autocast(self._autocast, torch.bfloat16):
            outputs = self._run(parameters, buffers, inputs)
        return tree_map(lambda tensor: tensor.float(), outputs)

    def _whole_batch(self) -> contextlib.AbstractContextManager[object]:
        """In its block batch norm sees the whole of a batch that processes share."""
        if self.shard is None or self.shard.is_whole or not self.module.training:
            return contextlib.nullcontext()
        return WholeBatchNorm(self._processes, self.shard)

    def _run(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor) -> Any:
        if self.backend == "native":
            return self.module.forward_stacked(inputs, {**parameters, **buffers})  # type: ignore[operator]
        with self._whole_batch():
            if self.backend == "vmap":
                return vmap(self._run_one)(parameters, buffers, inputs)
            return self._run_in_turn(parameters, buffers, inputs)

    def _run_one(self, parameters: Any, buffers: Any, inputs: Tensor) -> Any:
        return functional_call(self.module, (parameters, buffers), (inputs,))

    def _run_in_turn(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor
    ) -> Any:
        if self.replicas == 1:  # views, whose gradients need no copies
            alone = {name: p.squeeze(0) for name, p in parameters.items()}
            outputs = self._run_one(alone, {name: b[0] for name, b in buffers.items()}, inputs[0])
            return tree_map(lambda tensor: tensor.unsqueeze(0), outputs)
        unbound = {name: p.unbind(0) for name, p in parameters.items()}
        each = []
        for k in range(self.replicas):
            row = {name: rows[k] for name, rows in unbound.items()}
            each.append(self._run_one(row, {name: b[k] for name, b in buffers.items()}, inputs[k]))
        return tree_map(lambda *rows: torch.stack(rows), *each)

    def compile(self, **options: Any) -> None:
        """Have torch compile the network, with its options, for a benchmark: numbers round otherwise then."""
        # in place of the method: all backends run a replica by it
        self._run_one = torch.compile(self._run_one, **options)  # type: ignore[method-assign]

    def train(self, mode: bool = True) -> None:
        """Switch between training and evaluation."""
        self.module.train(mode)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation in the block; each layer is what it was before when the block ends, however it does."""
        before = [(layer, layer.training) for layer in self.module.modules()]
        self.train(False)
        try:
            yield
        finally:
            for layer, mode in before:
                layer.training = mode

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Extra passes of a method: batch statistics in batch norm, no dropout, nothing is written.

        `torch.func.grad` and `jvp` refuse a network that updates a buffer (spec other-methods 1.3, rule a).
        """
        calls, kept_away = self.calls, set(self._kept_away)
        norms = {name: layer for name, layer in self.module.named_modules() if isinstance(layer, BatchNorm)}
        held = {name: (norm.track_running_stats, dict(norm._buffers)) for name, norm in norms.items()}
        modes = [dropout.training for dropout in self._dropouts]
        for dropout in self._dropouts:
            dropout.eval()
        for name, norm in norms.items():
            norm.track_running_stats = False
            norm._buffers.update(dict.fromkeys(norm._buffers))
            self._kept_away |= {f"{name}.{buffer}" for buffer in norm._buffers}
        try:
            yield
        finally:
            self.calls, self._kept_away = calls, kept_away
            for name, norm in norms.items():
                norm.track_running_stats, buffers = held[name]
                norm._buffers.update(buffers)
            for dropout, mode in zip(self._dropouts, modes, strict=True):
                dropout.training = mode

    def replica(self, build: Build, row: int) -> nn.Module:
        """Replica `row` as an ordinary network of its own."""
        module = build().to(next(iter(self.parameters.values())).dtype)
        tensors = {**self.parameters, **self.buffers}
        module.load_state_dict({name: tensors[name][row].detach().cpu() for name in module.state_dict()})
        return module
