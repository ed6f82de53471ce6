"""LAP against every recorded trace of the published implementation (`golden/lap_trace_*`)."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lapwing.weighting import SourceGradientMultiplier, SourceGradientWeighting, SourceLossWeighting

GOLDEN = Path(__file__).parent / "golden"
REFERENCE = Path(__file__).parents[1] / "benchmarks" / "reference_lap.py"

ONLY_ORIGINAL = {
    "slw_07_saturating_strength",
    "slw_13_two_sources_zero_weight_sum",
    "sgw_04_random_order_shift",
    "sgw_07_two_param_groups",
}


def traces(form: str) -> list[Any]:
    names = sorted(path.stem.removeprefix("lap_trace_") for path in GOLDEN.glob(f"lap_trace_{form}_*.npz"))
    return [
        pytest.param(name, compat, id=f"{name}-{compat or 'safe'}")
        for name in names
        for compat in (None, "original")
        if compat or name not in ONLY_ORIGINAL
    ]


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"lap_trace_{name}.npz", allow_pickle=False) as archive:
        return dict(archive)


def hyperparameters(trace: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name[3:]: value.item() for name, value in trace.items() if name.startswith("hp_")}


def by_source(weighting: SourceLossWeighting, ids: np.ndarray) -> np.ndarray:
    """The counters of these ids; 0 for one that was not seen yet."""
    known = dict(zip(weighting.sources, weighting.unreliability.tolist(), strict=True))
    return np.array([known.get(int(source), 0.0) for source in ids])


def test_all_traces_are_there() -> None:
    assert len(list(GOLDEN.glob("lap_trace_slw_*.npz"))) == 13
    assert len(list(GOLDEN.glob("lap_trace_sgw_*.npz"))) == 7


@pytest.mark.parametrize(("name", "compat"), traces("slw"))
def test_free_running_in_float64_equals_the_published_losses_and_counters(name: str, compat: Any) -> None:
    trace = load(name)
    weighting = SourceLossWeighting(**hyperparameters(trace), compat=compat)
    for losses, sources, factors, counters in zip(
        trace["losses"], trace["sources"], trace["multiplier"], trace["unreliability"], strict=True
    ):
        got = weighting.multipliers(torch.from_numpy(losses).double(), torch.from_numpy(sources))
        np.testing.assert_allclose(got, factors, rtol=0, atol=2e-7)
        np.testing.assert_array_equal(by_source(weighting, trace["source_ids"]), np.nan_to_num(counters))


@pytest.mark.parametrize(("name", "compat"), traces("slw"))
def test_each_float32_step_equals_the_published_one_from_the_same_state(name: str, compat: Any) -> None:
    trace = load(name)
    ids = trace["source_ids"]
    weighting = SourceLossWeighting(**hyperparameters(trace), sources=ids, compat=compat)
    before = np.zeros(len(ids))
    compared = 0
    for step, (losses, sources) in enumerate(zip(trace["losses"], trace["sources"], strict=True)):
        weighting.counters.copy_(torch.from_numpy(before))
        weighting.factors.copy_(torch.from_numpy(before_factors(before, trace)))
        weighted = weighting(torch.from_numpy(losses), torch.from_numpy(sources)).numpy()
        after = np.nan_to_num(trace["unreliability"][step]).astype(float)
        clear = ~(np.abs(trace["decision_margin"][step]) <= 1e-5)
        np.testing.assert_allclose(weighting.unreliability.numpy()[clear], after[clear], rtol=0, atol=1e-5)
        samples = clear[np.searchsorted(ids, sources)]
        expected = trace["weighted_losses"][step]
        np.testing.assert_allclose(weighted[samples], expected[samples], rtol=1e-5, atol=1e-5)
        compared += samples.sum()
        before = after
    assert compared > 0.99 * trace["losses"].size


def before_factors(counters: np.ndarray, trace: dict[str, np.ndarray]) -> np.ndarray:
    scale = trace["hp_depression_strength"] * trace["hp_discrete_amount"]
    return (1 - np.tanh((counters * scale).astype(np.float32)) ** 2).astype(float)


@pytest.mark.parametrize(
    ("name", "saturated"), [("slw_07_saturating_strength", 59), ("slw_13_two_sources_zero_weight_sum", 14)]
)
def test_safe_behaviour_leaves_the_published_one_only_where_that_collapses(name: str, saturated: int) -> None:
    trace = load(name)
    weighting = SourceLossWeighting(**hyperparameters(trace))
    different = []
    for losses, sources, counters in zip(
        trace["losses"], trace["sources"], trace["unreliability"], strict=True
    ):
        weighting(torch.from_numpy(losses).double(), torch.from_numpy(sources))
        different.append((by_source(weighting, trace["source_ids"]) != np.nan_to_num(counters)).any())
    assert different.index(True) == saturated
    assert weighting.multiplier.max() > 0  # published: every factor is 0 at the end


@pytest.mark.parametrize(("name", "compat"), traces("sgw"))
def test_gradient_form_equals_the_published_parameters(name: str, compat: Any) -> None:
    trace = load(name)
    settings = hyperparameters(trace)
    parameters = [torch.nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in trace["params"][0]]
    optimiser = SourceGradientWeighting(
        torch.optim.SGD,
        params=[{"params": [parameter]} for parameter in parameters],
        lr=float(trace["lr"]),
        history_length=settings.pop("history_length"),
        depression_strength=settings.pop("depression_strength"),
        depression_function_kwargs={key: settings[key] for key in ("discrete_amount", "leniency", "warm_up")},
        compat=compat,
    )
    for loss, source, gradients, expected in zip(
        trace["losses"], trace["sources"], trace["gradients"], trace["params"], strict=True
    ):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimiser.step(float(loss), int(source))
        got = torch.stack(parameters).detach().numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    counters = np.nan_to_num(trace["counter_by_source"][-1])
    np.testing.assert_array_equal(optimiser.weighting.unreliability.numpy(), counters)
    assert int(optimiser.weighting.calls) == trace["depression_calls"][-1]


@pytest.mark.parametrize(
    ("name", "compat"),
    [
        ("sgw_01_h20_l08_s10_roundrobin", None),
        ("sgw_02_h25_warm250", None),
        ("sgw_04_random_order_shift", "original"),
    ],
)
def test_gradient_form_gives_the_published_multipliers_as_pure_state(name: str, compat: Any) -> None:
    trace = load(name)
    state = SourceGradientMultiplier(**hyperparameters(trace), sources=trace["source_ids"], compat=compat)
    losses, sources = torch.from_numpy(trace["losses"]), torch.from_numpy(trace["sources"])
    got = torch.cat(
        [state.multipliers(*pair) for pair in zip(losses.split(1), sources.split(1), strict=True)]
    )
    np.testing.assert_allclose(got, trace["multiplier"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["slw_04_s50_missing_h5", "slw_08_late_sources_noncontiguous"])
def test_plain_reference_of_the_benchmark_equals_the_published_losses(name: str) -> None:
    specification = importlib.util.spec_from_file_location("reference_lap", REFERENCE)
    assert specification is not None
    assert specification.loader is not None
    reference = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(reference)
    trace = load(name)
    plain = reference.ReferenceLap(**hyperparameters(trace))
    for losses, sources, expected in zip(
        trace["losses"], trace["sources"], trace["weighted_losses"], strict=True
    ):
        weighted = plain(torch.from_numpy(losses), torch.from_numpy(sources))
        np.testing.assert_allclose(weighted, expected, rtol=1e-5, atol=1e-5)
