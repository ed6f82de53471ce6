"""The numbers of each model, method and kind of corruption, and of the engine, stand beside their versions.

Snakemake sees no change in the package: what makes runs train anew is a version in their settings. So when
numbers change on purpose, raise the version of what changed them (of the method, the model, the corruption,
or `SHARED_VERSION` or `ENGINE_VERSION` if all of them change), then write the new numbers down:

    PYTHONPATH=src python -m tests.training.test_numbers
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits

from lapwing.corruption import corruptions
from lapwing.corruption.base import SHARED_VERSION, CorruptionSettings, decide
from lapwing.datasets import datasets
from lapwing.datasets.prepare import words_of
from lapwing.methods import methods
from lapwing.models import models
from lapwing.training.data import Replica, Rows
from lapwing.training.job import Progress, Trainee, prepare, train_one_epoch
from lapwing.training.settings import ENGINE_VERSION, TrainingSettings
from tests.conftest import corruptions_of_images

GOLDEN = Path(__file__).parents[1] / "golden" / "numbers.json"
SEED, EPOCHS = 2, 2
TOLERANCE = 1e-9
"""Between machines; between versions of one machine the numbers are equal."""

LAP = {"history_length": 3, "warmup_iters": 0, "depression_strength": 50.0, "leniency": 0.3}
METHODS = {
    "standard": ("standard", {}),
    "lap loss": ("lap", {"form": "loss", **LAP}),
    "lap gradient": ("lap", {"form": "gradient", **LAP}),
    "lap loss original": ("lap", {"form": "loss", "compat": "original", **LAP}),
    "lap gradient original": ("lap", {"form": "gradient", "compat": "original", **LAP}),
    "arfl": ("arfl", {"local_epochs": 2, "regularisation": 0.1}),
    "cdr": ("cdr", {"ramp_epochs": 2}),
    "coteaching": ("coteaching", {"ramp_epochs": 2}),
    "idpa": ("idpa", {"warmup_epochs": 0}),
    "nls": ("nls", {}),
}
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
AT_RANDOM = {"number": 5, "corrupt": 2, "assignment": "random"}
CHANGES: dict[str, dict] = {
    "sgd": {"optimiser": SGD},
    "cosine": {"schedule": {"name": "cosine", "minimum": 0.001}},
    "step": {"schedule": {"name": "step", "every": 1, "factor": 0.5}},
    "fraction": {"split": {"kind": "fraction", "train": 0.7}},
    "random rows": {"split": {"kind": "random_rows", "train": 0.8}, "sources": AT_RANDOM},
    "level": {"level": 0.5},
    "batch form": {"options": {"form": "batch"}},
    "linear": {"schedule": {"name": "linear", "start": 1, "late_beta": 0.1}},
    "fixed source": {"sources": {**AT_RANDOM, "number": 6}, "options": {"draw": "uniform"}},
    "in turn": {"sources": {**AT_RANDOM, "assignment": "random_in_turn"}},
    "dealt": {"sources": {"number": 5, "corrupt": 2, "assignment": "dealt"}},
    "given": {"sources": {"number": 8, "corrupt": 3, "assignment": "given"}, "layout": "balanced"},
    "after corruption": {"split": {"kind": "after_corruption", "train": 0.7}, "sources": AT_RANDOM},
    "balanced": {"layout": "balanced", "sources": AT_RANDOM},
    "mirrored": {"augmentation": "horizontal_flip"},
    "normalised": {"normalisation": [[0.3], [0.4]]},
    "one noisy": {"options": {"noisy": 1}, "sources": AT_RANDOM},
}
"""What a case may change of the settings of training or corruption, or of how inputs are read."""
SMALL: dict[str, dict] = {
    "resnet": {"depth": 18, "width": 4, "stem": "small"},
    "resnet1d": {"channels": (4, 4, 4, 4), "kernel": 7},
    "lstm": {"embedding": 8, "hidden": 8},
    "transformer": {"features": 8, "heads": 2, "feed_forward": 16},
}
"""Options of models that are large by default."""
CASES = [
    *itertools.product(
        ["mlp", "conv3net"],
        ["standard", "lap loss", "lap gradient"],
        ["digits"],
        ["original", "random_label", "added_noise"],
    ),
    *itertools.product(
        ["mlp", "conv3net"],
        ["arfl", "cdr", "coteaching", "idpa", "nls"],
        ["digits"],
        ["random_label"],
    ),
    *itertools.product(["mlp"], ["standard"], ["digits"], corruptions_of_images()),
    *itertools.product(
        ["regression_mlp"], ["standard", "lap loss"], ["diabetes"], ["original", "random_label"]
    ),
    *itertools.product(["difficult_cnn", "resnet20", "toy_mlp"], ["standard"], ["digits"], ["random_label"]),
    ("mlp", "lap loss original", "digits", "random_label"),
    ("mlp", "lap gradient original", "digits", "random_label"),
    *(
        ("mlp", "standard", "digits", f"random_label, {change}")
        for change in CHANGES
        if change
        not in ("random rows", "batch form", "dealt", "fixed source", "in turn", "given", "one noisy")
    ),
    ("mlp", "standard", "digits", "wrapped_noise_and_random_label, one noisy"),
    ("mlp", "standard", "digits", "added_noise, normalised"),
    *itertools.product(
        ["resnet"],
        ["standard", "lap loss"],
        ["digits"],
        ["random_label", "wrapped_noise_and_random_label, one noisy"],
    ),
    *itertools.product(["resnet1d"], ["standard", "lap loss"], ["signals"], ["noise_and_label_flip, given"]),
    ("mlp", "standard", "digits", "batch_label_flip, batch form"),
    ("mlp", "standard", "digits", "batch_label_shuffle, batch form"),
    ("mlp", "standard", "digits_n", "human_labels, dealt"),
    ("mlp", "standard", "digits", "graded_label_flip, dealt"),
    ("mlp", "standard", "difficult_digits", "random_label, fixed source"),
    ("regression_mlp", "standard", "diabetes", "random_label, random rows"),
    *itertools.product(
        ["lstm", "transformer"],
        ["standard"],
        ["generated_reviews"],
        ["random_label, in turn", "random_permute, in turn", "random_token, in turn"],
    ),
]
NAMES = sorted({" ".join(case) for case in CASES})


def texts():
    """(arrays, about) of generated reviews of both opinions."""
    whole = datasets.get("generated_reviews")
    arrays = whole.read(Path())
    about = {"version": whole.version, "scale": whole.scale, "task": whole.task, "classes": whole.classes}
    about |= {"dataset": "generated_reviews", "vocabulary": len(words_of(arrays.pop("vocabulary")))}
    return {name: values[::4] for name, values in arrays.items()}, about


def signals():
    """(arrays, about) of waves of two frequencies, each with noise, from eight sources of several sizes."""
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 2, 200)
    seconds = np.arange(256) / 100 + draw.random((200, 1))
    waves = np.sin(2 * np.pi * (1 + targets[:, None]) * seconds)
    inputs = (waves[:, None] + draw.normal(0, 0.5, (200, 2, 256))).astype(np.float32)
    arrays = {"train/inputs": inputs[:150], "train/targets": targets[:150]}
    arrays |= {"test/inputs": inputs[150:], "test/targets": targets[150:]}
    arrays["train/source"] = draw.permutation(np.repeat(np.arange(8), (50, 30, 20, 10, 10, 10, 10, 10)))
    return arrays, {"dataset": "signals", "version": 1, "scale": 1.0, "task": "classification", "classes": 2}


def prepared(dataset: str):
    """(arrays, about) as the prepared file of a small dataset would have them."""
    if dataset == "generated_reviews":
        return texts()
    if dataset == "signals":
        return signals()
    if dataset == "difficult_digits":
        whole = datasets.get(dataset)
        about = {"version": whole.version, "scale": whole.scale, "task": whole.task, "classes": whole.classes}
        return whole.read(Path()), {"dataset": dataset, "groups": whole.groups, **about}
    if dataset.startswith("digits"):
        digits = load_digits()
        inputs, targets, scale = (
            digits.images[:, None].astype(np.uint8),
            digits.target.astype(np.int64),
            1 / 16,
        )
        rest = {"task": "classification", "classes": 10}
    else:
        diabetes = load_diabetes()
        inputs, targets, scale = (
            (diabetes.data * 20).astype(np.float32),
            (diabetes.target / 100).astype(np.float32),
            1.0,
        )
        rest = {"task": "regression", "classes": None}
    arrays = {"train/inputs": inputs[:320], "train/targets": targets[:320]}
    arrays |= {"test/inputs": inputs[320:420], "test/targets": targets[320:420]}
    if dataset == "digits_n":
        arrays["train/worse"] = (arrays["train/targets"] + np.arange(320) % 2) % 10
    return arrays, {"dataset": dataset, "version": 1, "scale": scale, **rest}


def corruption_options(corruption: str, task: str) -> dict:
    """What must differ from the defaults on these small data."""
    if corruption == "chunk_shuffle":
        return {"pieces": 4}
    if corruption == "graded_label_flip":
        return {"levels": (0.5, 1.0)}
    return {"draw": "uniform"} if corruption == "random_label" and task == "regression" else {}


def versions_of(name: str) -> dict[str, int]:
    model, method, dataset, corruption, _ = parts_of(name)
    viewed = (
        {"dataset difficult_digits": datasets.get(dataset).version} if dataset == "difficult_digits" else {}
    )
    return viewed | {
        "shared corruption": SHARED_VERSION,
        "engine": ENGINE_VERSION,
        f"model {model}": models.get(model).version,
        f"method {METHODS[method][0]}": methods.get(METHODS[method][0]).version,
        f"corruption {corruption}": corruptions.get(corruption).version,
    }


def parts_of(name: str) -> tuple[str, str, str, str, str]:
    names, _, change = name.partition(", ")
    model, *method, dataset, corruption = names.split(" ")
    return model, " ".join(method), dataset, corruption, change


def only(model, changes: dict) -> dict:
    return {name: value for name, value in changes.items() if name in model.model_fields}


def numbers_of(name: str) -> dict[str, list[float]]:
    """What a short run in float64 measures."""
    model, method, dataset, corruption, change = parts_of(name)
    key, options = METHODS[method]
    arrays, about = prepared(dataset)
    changes = CHANGES.get(change, {})
    corrupted = CorruptionSettings.model_validate(
        {
            "dataset": dataset,
            "dataset_version": about["version"],
            "sources": {"number": 5, "corrupt": 2, "size": 16},
            "name": corruption,
            "version": corruptions.get(corruption).version,
            "options": corruption_options(corruption, about["task"]),
            **only(CorruptionSettings, changes),
        }
    )
    decided, decided_about = decide(corrupted, arrays, about, SEED)
    test_index, part = decided.get("test_index"), decided_about["test_rows"]
    test_targets = arrays["test/targets"] if test_index is None else {SEED: decided["test_targets"]}
    form = {"normalisation": changes.get("normalisation"), "vocabulary": about.get("vocabulary")}
    settings = TrainingSettings.model_validate(
        {
            "model": {"name": model, "version": models.get(model).version, "options": SMALL.get(model, {})},
            "method": {"name": key, "version": methods.get(key).version, "options": options},
            "layout": "blocks" if "gradient" in method else "mixed",
            "batch_size": 16,
            "epochs": EPOCHS,
            "optimiser": {"learning_rate": 0.01},
            "precision": "float64",
            **only(TrainingSettings, changes),
        }
    )
    trainee = Trainee(
        settings=settings,
        rows=Rows(arrays["train/inputs"], about["scale"], **form),
        test_rows=Rows(arrays[f"{part}/inputs"], about["scale"], **form),
        test_targets=test_targets,
        test_index=None if test_index is None else {SEED: test_index},
        replicas={SEED: Replica.from_artefact(decided, decided_about)},
        left_aside={SEED: aside} if (aside := Replica.left_aside(decided, decided_about)) else {},
        classes=about["classes"],
        groups=about.get("groups", {}),
    )
    training, test = prepare(trainee, [SEED], torch.device("cpu"))
    progress = Progress()
    for _ in range(EPOCHS):
        train_one_epoch(training, test, progress, name)
    return {metric: values[0].reshape(-1).tolist() for metric, values in progress.history.items()}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_change_only_with_a_version(name):
    stored = json.loads(GOLDEN.read_text())
    assert name in stored, f"no numbers of {name!r} yet; write them down: see the top of {__file__}"
    versions, numbers = versions_of(name), numbers_of(name)
    same = numbers.keys() == stored[name]["numbers"].keys() and all(
        np.allclose(values, stored[name]["numbers"][metric], rtol=0, atol=TOLERANCE)
        for metric, values in numbers.items()
    )
    if versions == stored[name]["versions"]:
        assert same, (
            f"{name!r} gives other numbers under the same versions {versions}: finished runs would be mixed "
            f"with new ones. If that is meant, raise the version of what changed and renew {GOLDEN.name}: "
            f"see the top of {__file__}"
        )
    else:
        assert same, f"versions of {name!r} were raised; now renew {GOLDEN.name}: see the top of {__file__}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    written = {name: {"versions": versions_of(name), "numbers": numbers_of(name)} for name in NAMES}
    GOLDEN.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
