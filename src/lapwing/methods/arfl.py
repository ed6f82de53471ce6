"""ARFL: sources are clients of federated training; those with high losses weigh less (spec lap-core 7.4).

An epoch is a round. Every client starts from the global network with a fresh optimiser (the published
workers hand their moments on from client to client, quirk Q17); the new global network is the weighted mean.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from lapwing.errors import UserError
from lapwing.methods.base import Diagnostics, Method, Need
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.data import Replica
    from lapwing.training.engine import Training
    from lapwing.training.stack import Stack


class ArflHyperparameters(Closed):
    """ARFL's hyperparameters."""

    local_epochs: int = Field(1, ge=1)
    """Passes of each client over its own samples in a round."""
    regularisation: float = Field(1.0, gt=0)
    """How much weights resist: a factor of N, the number of all samples. Large: weights follow sizes."""


class Arfl(Method):
    """Rounds of local training, a weighted mean of networks, and weights from the losses of the clients."""

    title = "ARFL"
    version = 1
    needs = frozenset({Need.CLASSIFICATION, Need.SOURCES})
    Hyperparameters = ArflHyperparameters
    hyperparameters: ArflHyperparameters
    state_names = ("client_weights", "client_losses")
    client_weights: Tensor
    """[K, C] of the round before."""
    client_losses: Tensor
    """[K, C] of the global network after the round before; NaN before the first."""

    @classmethod
    def alike(cls, replica: Replica) -> Hashable:
        """Samples per source: seeds whose clients have equal sizes have equal steps."""
        return None if replica.source is None else tuple(np.bincount(replica.source).tolist())

    def setup(self, training: Training) -> None:
        """Find the samples of each client; a source without any is none.

        Raises:
            UserError: the data have no sources.
            ValueError: the clients of the seeds have different sizes.
        """
        import torch

        if training.data.source is None or training.sources < 2:
            raise UserError(f"method arfl needs {Need.SOURCES.value} (there are {training.sources}).")
        each = [torch.bincount(row, minlength=training.sources) for row in training.data.source]
        sizes = torch.stack(each)
        if not (sizes == sizes[0]).all():
            raise ValueError("the clients of seeds that train together have different sizes")
        order = training.data.source.argsort(dim=1, stable=True)
        parts = order.tensor_split(sizes[0].cumsum(0)[:-1].tolist(), 1)
        self._members = {client: part for client, part in enumerate(parts) if part.shape[1]}
        self._sources, self._clients = training.sources, sizes[0].nonzero().squeeze(1)
        self._sizes = sizes[0, self._clients].double()
        self.client_weights = (self._sizes / training.samples).repeat(training.replicas, 1)
        self.client_losses = torch.full_like(self.client_weights, torch.nan)

    def run_epoch(self, training: Training) -> None:
        """One round: all clients, their weighted mean, and the weights of the next round."""
        network, optimiser = training.networks[0], training.optimisers[0]
        mean = _Mean(network)
        shares = self.client_weights / self.client_weights.sum(1, keepdim=True)
        for (client, members), share in zip(self._members.items(), shares.unbind(1), strict=True):
            mean.restart(network)
            optimiser.restart()
            for turn in range(self.hyperparameters.local_epochs):
                for batch in training.batches(members, f"client {client}, pass {turn}"):
                    training.step(batch)
            mean.add(network, share)
        mean.write(network)
        self._weigh(training)

    def _weigh(self, training: Training) -> None:
        """Measure the global network on each client, and weigh the clients anew."""
        import torch

        parts = [training.sample_losses(outputs, batch.targets) for batch, outputs in training.full_pass()]
        losses = torch.cat(parts, 1).double()
        means = [losses.gather(1, members).mean(1) for members in self._members.values()]
        self.client_losses = torch.stack(means, 1)
        resistance = self.hyperparameters.regularisation * training.samples
        new = client_weights(self.client_losses, self._sizes, resistance)
        self.client_weights = new.where(new.sum(1, keepdim=True) > 0, self.client_weights)

    def source_diagnostics(self) -> Diagnostics:
        """Losses of the clients, and their weights over n / N: 1 at the start; NaN for who has no sample."""
        multiplier = self.client_weights * (self._sizes.sum() / self._sizes)
        return Diagnostics(self._by_source(self.client_losses), self._by_source(multiplier))

    def _by_source(self, of_clients: Tensor) -> Tensor:
        """[K, C] as [K, S]."""
        everything = of_clients.new_full((len(of_clients), self._sources), float("nan"))
        return everything.index_copy_(1, self._clients, of_clients)


class _Mean:
    """The network of the beginning of a round, and the weighted mean of what clients make of it.

    Floating tensors only: parameters and statistics of batch norm.
    """

    def __init__(self, network: Stack) -> None:
        import torch

        self._start = [tensor.clone() for tensor in _tensors(network)]
        self._total = [torch.zeros_like(tensor) for tensor in self._start]

    def restart(self, network: Stack) -> None:
        """Put the network back to the beginning of the round."""
        _write(self._start, network)

    def add(self, network: Stack, share: Tensor) -> None:
        """Count the network with a share [K]."""
        from lapwing.training.stack import per_replica

        for total, tensor in zip(self._total, _tensors(network), strict=True):
            total.addcmul_(tensor, per_replica(share.to(tensor.dtype), tensor))

    def write(self, network: Stack) -> None:
        """Make the mean the network."""
        _write(self._total, network)


def _tensors(network: Stack) -> list[Tensor]:
    """The tensors [K, …] that are averaged, as they lie in the network."""
    floating = [buffer for buffer in network.buffers.values() if buffer.is_floating_point()]
    return [*(parameter.detach() for parameter in network.parameters.values()), *floating]


def _write(values: list[Tensor], network: Stack) -> None:
    for tensor, value in zip(_tensors(network), values, strict=True):
        tensor.copy_(value)


def client_weights(losses: Tensor, sizes: Tensor, resistance: float) -> Tensor:
    """Weights [K, C] of clients in closed form: size · max(eta − loss, 0) / resistance, in sum 1.

    `eta` is the level up to which the clients of smallest loss fill, as long as it covers their own losses.

    Args:
        losses: [K, C] mean losses.
        sizes: [C] samples, of the same type.
        resistance: a number of samples; the larger, the closer weights stay to sizes.
    """
    ordered, order = losses.sort(dim=1)
    size = sizes.expand_as(losses).gather(1, order)
    levels = ((size * ordered).cumsum(1) + resistance) / size.cumsum(1)
    valid = (levels >= ordered).long().cumprod(1).sum(1, keepdim=True).clamp(min=1)
    return sizes * (levels.gather(1, valid - 1) - losses).clamp(min=0) / resistance


METHOD = Arfl
