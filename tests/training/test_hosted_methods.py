"""The contract hosts methods that use every hook: short versions of published ones, K = 5 against K = 1."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, jvp, vmap

from lapwing.methods.base import Method, Need, Term
from lapwing.training.stack import per_replica
from tests.training.conftest import SEEDS, difference, run


def kept(scores, number):
    ranks = scores.sort(dim=1, stable=True).indices.argsort(dim=1)
    return (ranks < number).to(scores.dtype)


class CoTeaching(Method):
    title, version, networks = "Co-teaching", 1, 2

    def objectives(self, training, batch, outputs, losses):
        number = int(0.8 * losses[0].shape[1])
        masks = [kept(loss.detach(), number) for loss in losses]
        return [
            Term((theirs * loss).sum(1) / number) for loss, theirs in zip(losses, masks[::-1], strict=True)
        ]


class Cdr(Method):
    title, version = "CDR", 1

    def edit_gradients(self, training, batch, network, losses):
        for parameter in network.parameters.values():
            score = (parameter.detach() * parameter.grad).abs().flatten(1)
            cut = score.median(1).values
            parameter.grad.mul_((score >= cut[:, None]).view_as(parameter))


class Nls(Method):
    title, version = "NLS", 1

    def sample_losses(self, training, outputs, batch):
        logs = outputs.log_softmax(-1)
        return -1.1 * logs.gather(-1, batch.targets[..., None]).squeeze(-1) + 0.1 * logs.mean(-1)


class L2rw(Method):
    title, version, reduction = "L2RW", 1, "sum"
    largest = 0.0
    needs = frozenset({Need.META_SET})

    def weights(self, training, batch, outputs, losses):
        network, clean = training.networks[0], training.meta_batch(30)
        assert clean.targets.shape == clean.inputs.shape[:2] == (training.replicas, 30)  # a batch has 20
        parameters = {name: p.detach() for name, p in network.parameters.items()}

        def losses_of(p, at):
            return training.sample_losses(network(at.inputs, p), at.targets)

        with network.quiet():
            direction = grad(lambda p: losses_of(p, clean).mean(1).sum())(parameters)
            found = jvp(lambda p: losses_of(p, batch), (parameters,), (direction,))[1].clamp(min=0)
        total = found.sum(1, keepdim=True)
        self.largest = max(self.largest, float(total.max()))
        return found / torch.where(total > 0, total, 1.0)


class PrlG(Method):
    title, version, reduction = "PRL-G", 1, "weight_sum"
    needs = frozenset({Need.NO_BATCH_NORM})

    def weights(self, training, batch, outputs, losses):
        network = training.networks[0]

        def one(parameters, inputs, targets):
            return training.sample_losses(network(inputs[:, None], parameters), targets[:, None]).sum()

        with network.quiet():
            parameters = {name: p.detach() for name, p in network.parameters.items()}
            found = vmap(grad(one), in_dims=(None, 1, 1))(parameters, batch.inputs, batch.targets)
        scores = sum(g.flatten(2).square().sum(2) for g in found.values()).T
        return kept(scores, int(0.8 * losses.shape[1]))


class Idpa(Method):
    title, version, state_names = "IDPA", 1, ("eta", "given")
    needs = frozenset({Need.SAMPLE_INDEX})

    def setup(self, training):
        self.eta = torch.full((training.replicas, training.samples), 0.01, dtype=training.dtype)
        self.given = torch.zeros_like(self.eta)

    def on_epoch_start(self, training):
        if training.epoch == 1:
            parts = [o.softmax(-1).gather(-1, b.targets[..., None])[..., 0] for b, o in training.full_pass()]
            self.given = torch.cat(parts, 1)

    def after_step(self, training, batch, outputs, losses):
        self.eta.scatter_(1, batch.index, self.eta.gather(1, batch.index) + 0.05 * losses[0].clamp(max=1))

    def weights(self, training, batch, outputs, losses):
        return 1 - 0.1 * self.eta.gather(1, batch.index) * self.given.gather(1, batch.index)


class Arfl(Method):
    title, version, state_names = "ARFL", 1, ("share",)
    needs = frozenset({Need.SOURCES})

    def setup(self, training):
        self.share = torch.full(
            (training.replicas, training.sources), 1 / training.sources, dtype=training.dtype
        )

    def run_epoch(self, training):
        network, optimiser = training.networks[0], training.optimisers[0]
        tensors = [p.detach() for p in network.parameters.values()]
        start, total = [t.clone() for t in tensors], [torch.zeros_like(t) for t in tensors]
        for client in range(training.sources):
            members = (
                (training.data.source == client)
                .long()
                .sort(dim=1, descending=True, stable=True)
                .indices[:, :60]
            )
            for tensor, value in zip(tensors, start, strict=True):
                tensor.copy_(value)
            optimiser.restart()
            for batch in training.batches(members, f"client {client}"):
                training.step(batch)
            for sum_, tensor in zip(total, tensors, strict=True):
                sum_ += per_replica(self.share[:, client], tensor) * tensor
        for tensor, value in zip(tensors, total, strict=True):
            tensor.copy_(value)
        losses = torch.cat([training.sample_losses(o, b.targets) for b, o in training.full_pass()], 1)
        each = torch.zeros_like(self.share).scatter_add(1, training.data.source, losses)
        self.share = (-each).softmax(1)


class TwoHeads(Method):
    """As RRL: outputs are more than logits."""

    title, version = "two heads", 1

    def forward(self, training, network, batch):
        logits = network(batch.inputs)
        return logits, F.normalize(logits, dim=-1)

    def predictions(self, outputs):
        return outputs[0] if isinstance(outputs, tuple) else outputs

    def sample_losses(self, training, outputs, batch):
        return training.sample_losses(outputs[0], batch.targets) + outputs[1][..., 0].square()


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, in jvp

HOSTED = [CoTeaching, Cdr, Nls, L2rw, PrlG, Idpa, Arfl, TwoHeads]


CASES = [
    (method, network, backend)
    for method in HOSTED
    for network, backend in (("mlp", "native"), ("mlp", "vmap"), ("norm", "vmap"))
    if network != "norm" or Need.NO_BATCH_NORM not in method.needs
]


@pytest.mark.parametrize(("method", "network", "backend"), CASES)
def test_a_hosted_method_gives_a_seed_the_same_alone_and_in_company(make, method, network, backend):
    sgd = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    together, test = make(SEEDS, method=method, network=network, backend=backend, meta=True, optimiser=sgd)
    measured = run(together, test)
    alone, test = make(SEEDS[3:4], method=method, network=network, meta=True, optimiser=sgd)
    expected = run(alone, test)
    assert difference(together, 3, alone, 0) <= 1e-10
    assert float(measured[-1]["train/loss"][3]) == pytest.approx(
        float(expected[-1]["train/loss"][0]), abs=1e-10
    )


@pytest.mark.parametrize("method", HOSTED)
def test_a_hosted_method_goes_on_bit_equal_from_its_saved_state(make, method):
    straight, test = make(SEEDS[:2], method=method, backend="native", meta=True)
    run(straight, test, 1)
    state, counters = {name: t.clone() for name, t in straight.state().items()}, straight.counters()
    resumed, test = make(SEEDS[:2], method=method, backend="native", meta=True)
    resumed.load(state, counters)
    run(straight, test, 2)
    run(resumed, test, 2)
    assert max(difference(straight, row, resumed, row) for row in (0, 1)) == 0


@pytest.mark.parametrize("method", HOSTED)
def test_a_hosted_method_trains_otherwise_than_standard(make, method):
    hosted, test = make(SEEDS[:1], method=method, meta=True)
    standard, _ = make(SEEDS[:1])
    for training in (hosted, standard):
        run(training, test)
    ours, theirs = (training.networks[0].parameters["output.weight"] for training in (hosted, standard))
    assert float((ours - theirs).detach().abs().max()) > 1e-4


def test_l2rw_gives_weight_to_some_samples(make):
    training, test = make(SEEDS[:2], method=L2rw, meta=True)
    run(training, test, 1)
    assert training.method.largest > 0


def test_two_networks_of_a_run_start_differently(make):
    training, _ = make(SEEDS[:1], method=CoTeaching)
    one, other = (network.parameters["output.weight"] for network in training.networks)
    assert not torch.equal(one, other)
