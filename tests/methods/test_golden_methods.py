"""The rival methods against numbers of the published implementations (`golden/lap_baseline_checks`)."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lapwing.methods.arfl import client_weights
from lapwing.methods.cdr import Cdr
from lapwing.methods.coteaching import Coteaching
from lapwing.methods.idpa import beliefs, moved_rates
from lapwing.methods.nls import Nls
from tests.methods.conftest import batch_of, method_of

GOLDEN = Path(__file__).parents[1] / "golden" / "lap_baseline_checks.npz"
SINGLE = {"rtol": 1e-5, "atol": 1e-7}
"""The recorded numbers are float32."""


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return {name: torch.from_numpy(np.asarray(values)) for name, values in archive.items()}


def of_case(golden: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}


def close(ours: torch.Tensor, recorded: torch.Tensor) -> None:
    torch.testing.assert_close(ours.detach().double(), recorded.double(), **SINGLE)


def leaf(recorded: torch.Tensor) -> torch.Tensor:
    """One replica of recorded numbers in float64, which gradients reach."""
    return recorded.double().unsqueeze(0).requires_grad_()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    losses = torch.nn.functional.cross_entropy(logits[0], targets, reduction="none")
    return losses.unsqueeze(0)


def test_label_smoothing_has_the_recorded_loss_and_gradient(golden):
    logits, method = leaf(golden["nls_logits"]), method_of(Nls, rate=float(golden["nls_smooth_rate"]))
    loss = method.sample_losses(None, logits, batch_of(golden["nls_targets"])).mean()
    loss.backward()
    close(loss, golden["nls_loss"])
    close(logits.grad[0], golden["nls_grad"])


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_coteaching_has_the_recorded_losses_and_gradients(golden, version, case):
    stored = of_case(golden, f"cot_{version}_r{case}_")
    logits = [leaf(stored[f"logits{network}"]) for network in (1, 2)]
    losses = [cross_entropy(one, stored["targets"]) for one in logits]
    rate = float(stored["forget_rate"])
    method = method_of(Coteaching, forget_rate=rate, ramp_epochs=0, divided_twice=version == "v1")
    terms = method.objectives(SimpleNamespace(epoch=0), None, [], losses)
    for network, term in enumerate(terms, start=1):
        term.value.sum().backward(retain_graph=True)
        close(term.value[0], stored[f"loss{network}"])
        close(logits[network - 1].grad[0], stored[f"grad{network}"])


@pytest.mark.parametrize("case", range(3))
def test_cdr_leaves_the_recorded_gradients(golden, case):
    stored = of_case(golden, f"cdr_n{case}_")
    parameters = {f"p{i}": stored[f"p{i}"].unsqueeze(0).requires_grad_() for i in range(4)}
    for i, parameter in enumerate(parameters.values()):
        parameter.grad = stored[f"g{i}_before"].unsqueeze(0).clone()
    method = method_of(Cdr, noise_rate=float(stored["noise_rate"]))
    method.edit_gradients(SimpleNamespace(epoch=0), None, SimpleNamespace(parameters=parameters), None)
    for i, parameter in enumerate(parameters.values()):
        close(parameter.grad[0], stored[f"g{i}_after"])
        assert torch.equal(parameter.grad[0] == 0, stored[f"g{i}_after"] == 0)


@pytest.mark.parametrize("case", range(3))
def test_arfl_has_the_recorded_weights(golden, case):
    losses, sizes = golden[f"arfl_{case}_loss"], golden[f"arfl_{case}_n"].double()
    resistance = float(golden[f"arfl_{case}_lambda"])
    ours = client_weights(losses.unsqueeze(0), sizes, resistance)[0]
    torch.testing.assert_close(ours, golden[f"arfl_{case}_weights"], rtol=1e-10, atol=1e-12)
    assert sizes.sum() == resistance


def test_idpa_has_the_recorded_beliefs_loss_gradient_and_rates(golden):
    logits, targets = leaf(golden["idpa_logits"]), golden["idpa_targets"].unsqueeze(0)
    eta, pnl = (golden[f"idpa_{name}"].double().unsqueeze(0) for name in ("eta", "pnl"))
    logs = logits.log_softmax(-1).movedim(-1, 0)
    belief = beliefs(logs.detach(), targets, eta, pnl)
    close(belief[:, 0].T, golden["idpa_posterior"])
    loss = -(belief * logs).sum(0).mean()
    loss.backward()
    close(loss, golden["idpa_loss"])
    close(logits.grad[0], golden["idpa_grad"])
    in_given = belief.gather(0, targets.unsqueeze(0))[0]
    close(moved_rates(eta, pnl, in_given, 0.05)[0], golden["idpa_eta_new"])
