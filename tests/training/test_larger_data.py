"""Training jobs on texts and on images as the larger studies have them, from files to tables."""

from pathlib import Path

import numpy as np
import pytest

from lapwing import files
from lapwing.errors import UserError
from lapwing.training.library import Samples, train_arrays
from tests.training.conftest import settings_of
from tests.training.parts import cell_of, train
from tests.training.test_data_of_a_run import with_corruption

WORDS, LENGTH = 40, 12
LSTM = {"name": "lstm", "version": 1, "options": {"embedding": 8, "hidden": 16, "layers": 1}}
LAP = {"form": "loss", "history_length": 5, "warmup_iters": 0, "depression_strength": 30.0}
AT_RANDOM = {"number": 5, "corrupt": 2, "assignment": "random_in_turn"}


def texts(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts of two classes, each with words of its own, filled up by zeros at the end."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 2, number)
    words = draw.integers(1, WORDS // 2, (number, LENGTH)) + targets[:, None] * (WORDS // 2)
    words[np.arange(LENGTH) >= draw.integers(8, LENGTH + 1, number)[:, None]] = 0
    return words.astype(np.int32), targets


def write_texts(folder: Path) -> Path:
    (train_inputs, train_targets), (test_inputs, test_targets) = texts(320, 0), texts(100, 1)
    vocabulary = "\n".join(f"word_{number}" for number in range(WORDS)).encode()
    arrays = {"train/inputs": train_inputs, "train/targets": train_targets, "test/inputs": test_inputs}
    arrays |= {"test/targets": test_targets, "vocabulary": np.frombuffer(vocabulary, np.uint8)}
    about = {"dataset": "texts", "version": 1, "task": "classification", "classes": 2, "scale": 1.0}
    files.write_arrays(folder / "texts.safetensors", arrays, {**about, "vocabulary": WORDS})
    return folder / "texts.safetensors"


def test_a_job_on_texts_learns_from_words(tmp_path):
    quick = {"model": LSTM, "layout": "mixed", "epochs": 6, "optimiser": {"learning_rate": 0.02}}
    cells = [
        with_corruption(cell_of(corruption, method, options, (2, 4), "texts", **quick), sources=AT_RANDOM)
        for corruption, method, options in (
            ("original", "standard", {}),
            ("random_permute", "lap", LAP),
            ("random_token", "standard", {}),
        )
    ]
    metrics, sources, runs = train(tmp_path, cells, data=write_texts(tmp_path))
    best = metrics.query("split == 'test' and metric == 'top_1'").groupby("corruption")["value"].max()
    assert best.min() > 0.9
    assert set(sources.groupby("corruption")["is_corrupt"].mean()) == {0.4}
    assert {run["backend"] for run in runs} == {"loop"}
    losses = metrics.query("split == 'train' and metric == 'loss' and epoch == 1").groupby("corruption")[
        "value"
    ]
    assert (
        losses.mean()["random_token"] > losses.mean()["original"]
    )  # half of the words of two sources are noise


def test_plain_arrays_may_be_texts():
    (train_inputs, train_targets), (test_inputs, test_targets) = texts(320, 0), texts(100, 1)
    settings = settings_of(model=LSTM, epochs=4, optimiser={"learning_rate": 0.02}, precision="float32")
    samples = Samples(train_inputs, train_targets), Samples(test_inputs, test_targets)
    [run] = train_arrays(settings, *samples, [1], classes=2, vocabulary=WORDS)
    assert run.metrics.query("split == 'test' and metric == 'top_1'")["value"].max() > 0.9
    with pytest.raises(UserError, match="model lstm reads words, and the data do not say how many there are"):
        train_arrays(settings, *samples, [1], classes=2)
    with pytest.raises(UserError, match="inputs must be numbers of words, integers from 0 to 38"):
        train_arrays(settings, *samples, [1], classes=2, vocabulary=WORDS - 1)


def write_images(folder: Path) -> Path:
    """Images of ten classes, the higher the brighter."""
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 10, 420)
    inputs = draw.integers(0, 30, (420, 3, 8, 8)) + (targets * 20)[:, None, None, None]
    arrays = {"train/inputs": inputs[:320].astype(np.uint8), "train/targets": targets[:320]}
    arrays |= {"test/inputs": inputs[320:].astype(np.uint8), "test/targets": targets[320:]}
    about = {"dataset": "images", "version": 1, "task": "classification", "classes": 10, "scale": 1 / 255}
    normalisation = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
    files.write_arrays(folder / "images.safetensors", arrays, {**about, "normalisation": normalisation})
    return folder / "images.safetensors"


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_job_on_images_as_imagenet64_has_them(tmp_path, precision):
    """Noise on bytes batch by batch, mirrored, normalised, validated on corrupt rows, tested on clean."""
    schedule = {"name": "step", "every": 6, "factor": 0.1}
    quick = {"model": {"name": "conv3net", "version": 1, "options": {}}, "layout": "mixed", "epochs": 8}
    quick |= {"augmentation": "horizontal_flip", "schedule": schedule, "precision": precision}
    quick |= {"optimiser": {"learning_rate": 0.005}}
    cell = cell_of("wrapped_noise_and_random_label", "lap", LAP, (2, 4), "images", **quick)
    corrupted = {"split": {"kind": "fraction", "train": 0.75}, "options": {"noisy": 1}}
    metrics, sources, _ = train(
        tmp_path, [with_corruption(cell, sources=AT_RANDOM, **corrupted)], data=write_images(tmp_path)
    )
    last = metrics.query("epoch == 8 and metric == 'top_1'").groupby("split")["value"].mean()
    assert last["test"] > last["validation"] + 0.1  # a fifth of its labels are random
    ends = sources.query("epoch == 8").groupby("is_corrupt")["unreliability"].mean()
    assert ends[True] > ends[False] + 3


def test_images_are_mirrored_and_nothing_else_is():
    samples = Samples(*texts(320, 0))
    settings = settings_of(augmentation="horizontal_flip")
    with pytest.raises(UserError, match=r"horizontal_flip needs images .* inputs have the shape \(12,\)"):
        train_arrays(settings, samples, samples, [1], classes=2)


@pytest.mark.parametrize("vocabulary", [None, WORDS])
def test_no_samples_are_one_sentence(vocabulary):
    some, none = (Samples(*(part[:number] for part in texts(20, 0))) for number in (20, 0))
    settings = settings_of(model=LSTM if vocabulary else settings_of().model.model_dump(), batch_size=4)
    for samples in ((none, some), (some, none)):
        with pytest.raises(UserError, match="there are no samples; at least one is needed"):
            train_arrays(settings, *samples, [1], classes=2, vocabulary=vocabulary)
