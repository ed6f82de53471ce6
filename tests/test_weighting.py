"""The two front ends of LAP: what they accept, what they refuse and how they say so."""

import copy
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lapwing import SourceGradientWeighting, SourceLossWeighting
from lapwing.weighting import SourceGradientMultiplier

QUICK: dict[str, Any] = {"history_length": 2, "warmup_iters": 0, "discrete_amount": 0.1}


def teach(weighting: SourceLossWeighting, steps: int = 6) -> None:
    """Show one bad source, 2, among good ones."""
    for step in range(steps):
        wobble = 0.1 * (step % 2)
        weighting(torch.tensor([0.5, 0.6 + wobble, 5.0]), torch.tensor([0, 1, 2]))


def test_importing_lapwing_does_not_import_torch() -> None:
    code = "import sys, lapwing; assert 'torch' not in sys.modules; print(lapwing.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"


# The loss form


def test_a_process_with_a_share_of_each_batch_holds_the_state_of_the_whole_batch() -> None:
    draw = torch.Generator().manual_seed(0)
    rest: list[tuple[Tensor, Tensor]] = []

    def add_the_rest(sums: Tensor) -> Tensor:
        losses, sources = rest[-1]
        theirs = [torch.bincount(sources, values.double(), 3) for values in (losses, torch.ones_like(losses))]
        return sums + torch.stack(theirs).unsqueeze(1)

    whole = SourceLossWeighting(**QUICK, num_sources=3)
    own = SourceLossWeighting(**QUICK, num_sources=3, sum_over_processes=add_the_rest)
    for share in (4, 7, 0, 1, 9, 12, 3, 5):
        sources = torch.randint(3, (12,), generator=draw)
        losses = torch.rand(12, generator=draw, dtype=torch.float64) + 4 * (sources == 2)
        rest.append((losses[share:], sources[share:]))
        factors = whole.multipliers(losses, sources)
        torch.testing.assert_close(own.multipliers(losses[:share], sources[:share]), factors[:share])
    assert whole.unreliability[2] > 0
    for name, tensor in whole.named_buffers():
        torch.testing.assert_close(own.get_buffer(name), tensor)


def test_processes_that_share_batches_must_know_the_sources() -> None:
    with pytest.raises(ValueError, match="sum_over_processes needs sources or num_sources"):
        SourceLossWeighting(sum_over_processes=torch.clone)


def test_bad_source_fades_and_good_ones_do_not() -> None:
    weighting = SourceLossWeighting(**QUICK)
    teach(weighting)
    assert weighting.sources == [0, 1, 2]
    assert weighting.unreliability.tolist() == [0, 0, 5]
    torch.testing.assert_close(weighting.multiplier, 1 - torch.tensor([0, 0, 0.5]).double().tanh() ** 2)


def test_factor_is_a_constant_for_autograd() -> None:
    weighting = SourceLossWeighting(**QUICK, num_sources=3)
    teach(weighting)
    losses = torch.tensor([0.5, 0.6, 5.0], requires_grad=True)
    weighting(losses, torch.tensor([0, 1, 2])).sum().backward()
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, weighting.multiplier.float())
    assert not any(buffer.requires_grad for buffer in weighting.buffers())
    assert not list(weighting.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_of_every_floating_dtype_come_back_in_it(dtype: torch.dtype) -> None:
    weighting = SourceLossWeighting(**QUICK)
    teach(weighting)
    losses = torch.tensor([0.5, 5.0], dtype=dtype)
    weighted = weighting(losses, torch.tensor([0, 2]))
    assert weighted.dtype == dtype
    torch.testing.assert_close(weighted, losses * weighting.multiplier[[0, 2]].to(dtype))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("named", [{}, {"num_sources": 3}, {"sources": [2, 0, 1]}])
def test_ids_of_every_dtype_mean_the_same_source(dtype: torch.dtype, named: dict[str, Any]) -> None:
    weighting = SourceLossWeighting(**QUICK, **named)
    teach(weighting)
    before = weighting.unreliability[2].item()
    weighting(torch.tensor([5.0]), torch.tensor([2], dtype=dtype))
    assert weighting.sources == [0, 1, 2]
    assert weighting.unreliability[2] == before + 1


def test_new_ids_may_come_at_any_time_and_keep_what_is_known() -> None:
    weighting = SourceLossWeighting(**QUICK)
    teach(weighting)
    assert weighting(torch.tensor([9.0, 9.0]), torch.tensor([-(2**40), 1])).tolist()[0] == 9
    assert weighting.sources == [-(2**40), 0, 1, 2]
    assert weighting.unreliability.tolist() == [0, 0, 1, 5]


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_empty_batch_is_returned_unchanged_and_not_counted(shape: tuple[int, ...]) -> None:
    replicas = shape[0] if len(shape) > 1 else None
    weighting = SourceLossWeighting(num_sources=3, replicas=replicas)
    losses = torch.empty(shape)
    assert weighting(losses, torch.empty(shape, dtype=torch.int64)).shape == shape
    assert weighting.calls.sum() == 0


def test_warm_up_fills_histories_and_leaves_losses_alone() -> None:
    weighting = SourceLossWeighting(**QUICK | {"warmup_iters": 6})
    teach(weighting, steps=6)
    assert weighting.unreliability.sum() == 0
    assert (weighting.updates == 6).all()
    teach(weighting, steps=1)
    assert weighting.unreliability[2] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_losses_are_skipped_and_counted_where_asking_would_wait(value: float) -> None:
    weighting = SourceLossWeighting(**QUICK, num_sources=3)
    teach(weighting)
    before = {name: tensor.clone() for name, tensor in weighting.replica_state().items()}
    weighting(torch.tensor([value, 1.0]), torch.tensor([2, 2]))
    assert weighting.skipped.tolist() == [0, 0, 1]
    for name in ("history", "updates", "counters", "factors"):
        assert torch.equal(weighting.replica_state()[name], before[name])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_losses_are_refused_where_ids_are_looked_up(value: float) -> None:
    with pytest.raises(ValueError, match="losses must be finite"):
        SourceLossWeighting()(torch.tensor([value, 1.0]), torch.tensor([2, 2]))


@pytest.mark.parametrize(
    ("losses", "sources", "sentence"),
    [
        (
            torch.rand(4, 1),
            torch.arange(4),
            r"losses must have the shape \[B\], one value per sample, not \[4, 1\]",
        ),
        (torch.tensor(1.0), torch.tensor(1), r"one value per sample, not \[\]; use reduction='none'"),
        (torch.rand(4), torch.arange(3), r"sources must have the shape of losses, \[4\], not \[3\]"),
        (torch.arange(4), torch.arange(4), "losses must be floating-point numbers, not torch.int64"),
        (torch.rand(2), torch.tensor([0.0, 1.5]), "sources must be whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(losses: Tensor, sources: Tensor, sentence: str) -> None:
    weighting = SourceLossWeighting()
    with pytest.raises(ValueError, match=sentence):
        weighting(losses, sources)
    assert weighting.sources == []


@pytest.mark.parametrize("named", [{"num_sources": 3}, {"sources": [0, 1, 5]}])
@pytest.mark.parametrize("bad", [3, -1, 2**40, 0.5])
def test_id_that_was_not_named_is_refused_before_anything_changes(named: dict[str, Any], bad: float) -> None:
    weighting = SourceLossWeighting(**QUICK, **named)
    with pytest.raises(ValueError, match="an id that is not among the 3 named"):
        weighting(torch.rand(2), torch.tensor([0, bad]))
    assert weighting.updates.sum() == 0


def test_replicas_need_their_axis() -> None:
    weighting = SourceLossWeighting(num_sources=3, replicas=2)
    with pytest.raises(ValueError, match=r"losses must have the shape \[2, B\]"):
        weighting(torch.rand(3, 4), torch.zeros(3, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"history_length": 0}, "history_length must be at least 1, not 0"),
        ({"history_length": 2.5}, "history_length must be a whole number"),
        ({"warmup_iters": -1}, "warmup_iters must be at least 0"),
        ({"depression_strength": -1}, "depression_strength must be a finite number of at least 0"),
        ({"discrete_amount": float("nan")}, "discrete_amount must be a finite number"),
        ({"leniency": float("inf")}, "leniency must be a finite number"),
        ({"sources": [1, 1]}, "sources must be different ids"),
        ({"sources": []}, "sources must be different ids, at least one"),
        ({"sources": [1.5]}, "sources must be a whole number"),
        ({"num_sources": 0}, "num_sources must be at least 1"),
        ({"num_sources": 2, "sources": [1, 2]}, "give one of them"),
        ({"replicas": 0}, "replicas must be at least 1"),
        ({"compat": "v1"}, "compat must be None or 'original'"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SourceLossWeighting(**settings)


class Writer:
    """Keeps what a TensorBoard writer is told."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], Any] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag, step] = value

    def add_scalars(self, tag: str, values: dict[str, float], step: int) -> None:
        self.scalars[tag, step] = values


@pytest.mark.parametrize("prefix", [None, "run"])
def test_writer_gets_the_published_scalars_of_the_sources_in_the_batch(prefix: str | None) -> None:
    weighting, writer = SourceLossWeighting(**QUICK), Writer()
    teach(weighting)
    weighting(torch.tensor([4.0, 6.0]), torch.tensor([2, 2]), writer=writer, prefix=prefix)
    start = "run/" if prefix else ""
    assert writer.scalars == {
        (f"{start}unreliability/source_2", 6): 6,
        (f"{start}depression_multiplier/source_2", 6): pytest.approx(1 - np.tanh(0.6) ** 2),
        (f"{start}loss/source_2", 6): 5,
    }


def test_writer_with_replicas_is_refused() -> None:
    weighting = SourceLossWeighting(num_sources=2, replicas=1)
    with pytest.raises(ValueError, match="a single run"):
        weighting(torch.rand(1, 2), torch.tensor([[0, 1]]), writer=Writer())


# The gradient form


def wrapped(**settings: Any) -> tuple[torch.nn.Parameter, SourceGradientWeighting]:
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    options: dict[str, Any] = {"history_length": 2, "depression_function_kwargs": {"discrete_amount": 0.1}}
    return parameter, SourceGradientWeighting(
        torch.optim.SGD, params=[parameter], lr=1.0, **options | settings
    )


def moved(
    parameter: torch.nn.Parameter, optimiser: SourceGradientWeighting, *step: Any, **options: Any
) -> float:
    """How far a step with a gradient of 1 moves the parameter."""
    before = parameter.detach().clone()
    parameter.grad = torch.ones_like(parameter)
    optimiser.step(*step, **options)
    return float((before - parameter.detach())[0])


def teach_optimiser(parameter: torch.nn.Parameter, optimiser: SourceGradientWeighting) -> None:
    for step in range(8):
        for source, loss in ((0, 0.5), (1, 0.6 + 0.1 * (step % 2)), (2, 5.0)):
            moved(parameter, optimiser, loss, source)


@pytest.mark.parametrize("named", [{}, {"num_sources": 3}, {"sources": [0, 1, 2]}])
def test_loss_and_source_may_be_numbers_or_tensors(named: dict[str, Any]) -> None:
    steps = []
    for loss, source in (
        (5.0, 2),
        (torch.tensor(5.0), torch.tensor([2])),
        (torch.tensor(5.0), torch.tensor(2)),
    ):
        parameter, optimiser = wrapped(**named)
        teach_optimiser(parameter, optimiser)
        steps.append(moved(parameter, optimiser, loss, source))
    assert steps[0] < 0.7
    assert steps[0] == steps[1] == steps[2]


def test_override_forbids_the_factor_but_counters_still_move() -> None:
    parameter, optimiser = wrapped()
    teach_optimiser(parameter, optimiser)
    counter = optimiser.weighting.unreliability[2].item()
    assert moved(parameter, optimiser, 5.0, 2, override_dep=False) == 1
    assert optimiser.weighting.unreliability[2] == counter + 1
    assert moved(parameter, optimiser, 5.0, 2, override_dep=True) < 0.7
    assert moved(parameter, optimiser, 5.0, 3, override_dep=True) == 1
    with pytest.raises(TypeError, match="override_dep must be True, False or None"):
        optimiser.step(5.0, 2, override_dep="yes")  # type: ignore[arg-type]


def test_oracle_steps_on_clean_batches_only_and_without_the_factor() -> None:
    parameter, optimiser = wrapped(source_is_bool=True)
    assert moved(parameter, optimiser, 1.0, True) == 0
    assert moved(parameter, optimiser, 1.0, torch.tensor([True])) == 0
    assert moved(parameter, optimiser, 1.0, False) == 1


def test_rule_of_the_callers_own_sees_complete_histories_oldest_first() -> None:
    seen: list[tuple[np.ndarray, int]] = []

    def rule(loss_array: np.ndarray, source_idx: int) -> float:
        seen.append((loss_array, source_idx))
        return 0.5

    parameter, optimiser = wrapped(depression_function=rule, depression_strength=2.0)
    losses = {7: [1.0, 2.0, 3.0], 4: [4.0, 5.0, 6.0]}
    for step in range(3):
        for source in (7, 4):
            factor = moved(parameter, optimiser, losses[source][step], source)
    assert factor == pytest.approx(1 - np.tanh(2.0 * 0.5) ** 2, abs=1e-12)
    np.testing.assert_array_equal(seen[-1][0], [[5.0, 6.0], [2.0, 3.0]])
    assert [row for _, row in seen] == [0, 1, 0]


def test_function_is_applied_before_the_strength() -> None:
    parameter, optimiser = wrapped(
        depression_function_kwargs={"discrete_amount": 0.1, "function": torch.sqrt}, depression_strength=0.5
    )
    teach_optimiser(parameter, optimiser)
    counter = optimiser.weighting.unreliability[2].item() + 1
    expected = 1 - np.tanh(0.5 * np.sqrt(0.1 * counter)) ** 2
    assert moved(parameter, optimiser, 5.0, 2) == pytest.approx(expected, abs=1e-12)


def test_published_rule_takes_a_loss_of_minus_one_for_a_missing_one() -> None:
    depressed = []
    for compat in (None, "original"):
        parameter, optimiser = wrapped(compat=compat)
        teach_optimiser(parameter, optimiser)
        moved(parameter, optimiser, -1.0, 2)
        depressed.append(moved(parameter, optimiser, 15.0, 2) < 1)
    assert depressed == [True, False]


def test_each_replica_may_have_another_source() -> None:
    state = SourceGradientMultiplier(2, discrete_amount=0.1, num_sources=3, replicas=2)
    for step in range(24):
        ids = torch.tensor([step % 3, (step + 1) % 3])
        factors = state.multipliers(torch.where(ids == 2, 5.0, 0.5 + 0.1 * ids), ids)
        assert torch.equal(factors[ids != 2], state.multiplier.gather(1, ids[:, None])[ids != 2, 0])
    assert (state.multiplier[:, 2] < 0.8).all()
    assert (state.multiplier[:, :2] > 0.95).all()
    with pytest.raises(ValueError, match=r"must have the shape \[2\]"):
        state.multipliers(torch.rand(3), torch.arange(3))


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimiser: torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.1),
        lambda optimiser: torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=10),
    ],
)
def test_schedulers_accept_it_and_change_the_wrapped_optimiser(scheduler: Any) -> None:
    parameter, optimiser = wrapped()
    schedule = scheduler(optimiser)
    before = optimiser.optimizer.param_groups[0]["lr"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved(parameter, optimiser, 1.0, 0)
        schedule.step()
    assert isinstance(optimiser, torch.optim.Optimizer)
    assert optimiser.optimizer.param_groups[0]["lr"] == schedule.get_last_lr()[0] != before


def test_saved_optimiser_continues_identically() -> None:
    def build() -> tuple[torch.nn.Parameter, SourceGradientWeighting]:
        parameter = torch.nn.Parameter(torch.ones(2))
        settings: dict[str, Any] = {"params": [parameter], "lr": 0.1, "history_length": 2}
        return parameter, SourceGradientWeighting(torch.optim.Adam, **settings)

    first, optimiser = build()
    teach_optimiser(first, optimiser)
    second, restored = build()
    with torch.no_grad():
        second.copy_(first)
    restored.load_state_dict(copy.deepcopy(optimiser.state_dict()))  # PyTorch's own states are not copied
    teach_optimiser(first, optimiser)
    teach_optimiser(second, restored)
    assert torch.equal(first, second)
    assert restored.weighting.sources == [0, 1, 2]
    assert restored.param_groups is restored.optimizer.param_groups


def test_groups_can_be_added_and_gradients_cleared() -> None:
    parameter, optimiser = wrapped()
    late = torch.nn.Parameter(torch.ones(2))
    optimiser.add_param_group({"params": [late], "lr": 0.5})
    late.grad = torch.ones(2)
    moved(parameter, optimiser, 1.0, 0)
    assert late.tolist() == [0.5, 0.5]
    optimiser.zero_grad()
    assert parameter.grad is late.grad is None


@pytest.mark.parametrize(
    ("step", "error", "sentence"),
    [
        ((torch.rand(2), 0), ValueError, r"loss must be one number or a 0-d tensor, not of shape \[2\]"),
        ((float("nan"), 0), ValueError, "loss must be finite, not nan"),
        ((torch.tensor(float("inf")), 0), ValueError, "loss must be finite, not inf"),
        ((1.0, torch.tensor([0, 1])), ValueError, "source must be one id, not 2"),
        ((1.0, 0.5), ValueError, "sources must be whole numbers"),
    ],
)
def test_steps_that_do_not_fit_are_refused(step: Any, error: type[Exception], sentence: str) -> None:
    parameter, optimiser = wrapped()
    with pytest.raises(error, match=sentence):
        moved(parameter, optimiser, *step)
    assert parameter.tolist() == [1, 1]


def test_sparse_gradients_are_refused() -> None:
    parameter, optimiser = wrapped()
    parameter.grad = torch.ones(2, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimiser.step(1.0, 0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"history_length": 0}, "history_length must be at least 1"),
        ({"depression_strength": -0.1}, "depression_strength must be a finite number of at least 0"),
        ({"depression_function": "best"}, "depression_function must be 'discrete_ranking_std' or callable"),
        ({"depression_function_kwargs": {"warmup": 1}}, "has no 'warmup'; known: discrete_amount"),
        ({"depression_function_kwargs": {"warm_up": -1}}, "warm_up must be at least 0"),
    ],
)
def test_gradient_settings_without_meaning_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        wrapped(**settings)
