"""The contract hosts methods that use every hook: our own, and short versions of further published ones."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, jvp, vmap

from lapwing.methods.base import Method, Need
from tests.training.conftest import SEEDS, difference, run
from tests.training.test_company import METHODS


def kept(scores, number):
    ranks = scores.sort(dim=1, stable=True).indices.argsort(dim=1)
    return (ranks < number).to(scores.dtype)


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

HOSTED = [L2rw, PrlG, TwoHeads]
ALL = {**METHODS, **{method.title: {"method": method} for method in HOSTED}}


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


@pytest.mark.parametrize(("network", "backend"), [("mlp", "native"), ("norm", "vmap")])
@pytest.mark.parametrize("case", ALL.values(), ids=ALL.keys())
def test_a_method_goes_on_bit_equal_from_its_saved_state(make, case, network, backend):
    if network == "norm" and case["method"] is PrlG:
        network, backend = "mlp", "vmap"  # it needs a model without batch norm
    case = {**case, "network": network, "backend": backend, "meta": True}
    straight, test = make(SEEDS[:2], **case)
    run(straight, test, 1)
    state, counters = {name: t.clone() for name, t in straight.state().items()}, straight.counters()
    resumed, test = make(SEEDS[:2], **case)
    resumed.load(state, counters)
    run(straight, test, 2)
    run(resumed, test, 2)
    assert max(difference(straight, row, resumed, row) for row in (0, 1)) == 0


@pytest.mark.parametrize("name", sorted({*ALL} - {"standard"}))
def test_a_method_trains_otherwise_than_standard(make, name):
    hosted, test = make(SEEDS[:1], meta=True, **ALL[name])
    standard, _ = make(SEEDS[:1], layout=hosted.settings.layout)
    for training in (hosted, standard):
        run(training, test)
    ours, theirs = (training.networks[0].parameters["output.weight"] for training in (hosted, standard))
    assert float((ours - theirs).detach().abs().max()) > 1e-4


def test_l2rw_gives_weight_to_some_samples(make):
    training, test = make(SEEDS[:2], method=L2rw, meta=True)
    run(training, test, 1)
    assert training.method.largest > 0
