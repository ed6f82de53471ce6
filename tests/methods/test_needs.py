"""What a method needs is checked against data, model and layout, without torch and before any job."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.methods.base import Method, Need, reduce
from lapwing.schema import validate
from lapwing.training.settings import RunSettings

BLOCKS = {"number": 10, "corrupt": 4, "assignment": "blocks", "size": 32}
CLASSES = SimpleNamespace(task="classification")


def settings_of(method="lap", sources=BLOCKS, layout="blocks", batch_size=16):
    corruption = {
        "dataset": "digits",
        "dataset_version": 1,
        "sources": sources,
        "name": "original",
        "version": 1,
    }
    return RunSettings.model_validate(
        {
            "corruption": corruption,
            "model": {"name": "mlp", "version": 1, "options": {}},
            "method": {"name": method, "version": 1, "options": {}},
            "layout": layout,
            "batch_size": batch_size,
            "epochs": 1,
        }
    )


def check(form="gradient", **conditions):
    lap = methods.get("lap")
    lap.check(lap.Hyperparameters(form=form), settings_of(**conditions), CLASSES, "table_1")


def test_the_gradient_form_takes_blocks_that_batches_divide():
    check()
    check(batch_size=32)


@pytest.mark.parametrize(
    "conditions",
    [
        {"layout": "mixed"},
        {"batch_size": 20},
        {"batch_size": 64},
        {"sources": {"number": 10, "corrupt": 4, "assignment": "random"}},
    ],
)
def test_the_gradient_form_refuses_batches_of_several_sources(conditions):
    with pytest.raises(UserError, match="table_1: method lap needs batches of a single source"):
        check(**conditions)
    check(form="loss", **conditions)


def test_lap_refuses_a_single_source():
    with pytest.raises(UserError, match="method lap needs at least two sources"):
        check(form="loss", sources={**BLOCKS, "number": 1, "corrupt": 0})


def test_idpa_refuses_batches_in_which_a_sample_may_stand_twice():
    idpa, random = methods.get("idpa"), {"number": 10, "corrupt": 4, "assignment": "random"}
    with pytest.raises(UserError, match="table_1: method idpa needs batches in which no sample stands twice"):
        idpa.check(None, settings_of("idpa", random, layout="balanced"), CLASSES, "table_1")
    for layout in ("blocks", "mixed"):
        idpa.check(None, settings_of("idpa", layout=layout), CLASSES, "table_1")


def test_standard_needs_nothing():
    methods.get("standard").check(None, settings_of("standard", layout="mixed"), CLASSES, "table_1")


@pytest.mark.parametrize("need", [Need.META_SET, Need.NOISE_VARIANCE, Need.TWO_VIEWS, Need.REGRESSION])
def test_what_no_data_offer_is_refused(need):
    class Demanding(Method):
        needs = frozenset({need})

    with pytest.raises(UserError, match=f"needs {need.value}"):
        Demanding.check(None, settings_of(), CLASSES, "here")


def test_lap_has_the_published_defaults_of_each_form():
    make = methods.get("lap").Hyperparameters
    loss, gradient = make(), make(form="gradient")
    assert (loss.history_length, loss.warmup_iters) == (50, 100)
    assert (gradient.history_length, gradient.warmup_iters) == (10, 0)
    for form in (loss, gradient):
        assert (form.depression_strength, form.discrete_amount, form.leniency) == (1.0, 0.005, 1.0)
        assert make.model_validate(form.model_dump(mode="json")) == form


def test_a_misspelt_hyperparameter_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean leniency"):
        validate(methods.get("lap").Hyperparameters, {"lenency": 1.0}, "methods.lap")


def test_checking_methods_and_models_imports_no_torch():
    code = (
        "import sys; from lapwing.methods import methods; from lapwing.models import models; "
        "[methods.get(n) for n in methods.names()]; [models.get(n) for n in models.names()]; "
        "import lapwing.training.settings; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_method_says_title_and_version():
    for name in methods.names():
        method = methods.get(name)
        assert method.title
        assert method.version >= 1
        assert method.__doc__


def test_reductions_divide_as_they_say():
    losses, weights = (
        torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    )
    assert reduce(losses, weights, "batch").value.tolist() == pytest.approx([4 / 3, 0.0])
    for reduction, value in (("weight_sum", [2.0, 0.0]), ("sum", [4.0, 0.0])):
        term = reduce(losses, weights, reduction)
        assert term.value.tolist() == value
        assert term.active.tolist() == [True, False]
    assert reduce(losses, None, "batch").value.tolist() == [2.0, 5.0]
