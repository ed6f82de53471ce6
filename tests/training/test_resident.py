"""Prepared rows on their way to a network: where they lie, what is made of them, what corrupts them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.corruption.base import CorruptionSettings, decide
from lapwing.training import resident
from lapwing.training.data import Arranged, Replica, Shared, TestData, TrainingData, widest_stack
from lapwing.training.resident import Rows, Shape, worth_a_copy

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NORMALISATION = [[0.4, 0.5, 0.6], [0.2, 0.3, 0.1]]


def images(number: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 3, 4, 5), dtype=np.uint8)


def plain(seed: int, number: int = 20, rows: int = 30) -> Replica:
    """Positions of a seed without any corruption."""
    draw = np.random.default_rng(seed)
    return Replica(seed, draw.permutation(rows)[:number], draw.integers(0, 2, number), np.arange(number) % 4)


def everything(data: TrainingData) -> torch.Tensor:
    """The inputs [K, N, …] of all positions."""
    positions = torch.arange(data.samples).expand(len(data.targets), -1)
    return data.inputs.gather(data.inputs.prepare(positions))


# -- where they lie ------------------------------------------------------------------------------------


def test_on_a_cpu_rows_are_a_view_of_the_file():
    rows = Rows(images())
    data = TrainingData(rows, [plain(1), plain(2)], layout="mixed")
    test = TestData(rows, [np.zeros(30)])
    rows.inputs[:] = 7  # a copy would not see it
    assert everything(data).eq(7).all()
    assert test.take(2, 3, 9)[0].eq(7).all()


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_what_is_made_of_rows_leaves_them_as_they_are(kind):
    rows = Rows(images().astype(kind), 1 / 255, NORMALISATION)
    before = rows.inputs.copy()
    everything(TrainingData(rows, [plain(1)], layout="mixed"))
    TestData(rows, [np.zeros(30)]).take(1, 0, 30)
    np.testing.assert_array_equal(rows.inputs, before)


@pytest.mark.parametrize("channels_last", [False, True])
def test_training_and_validation_share_the_rows(channels_last):
    rows = Rows(images())
    held = rows.resident(CPU, channels_last=channels_last)
    assert rows.resident(CPU, channels_last=channels_last) is held
    assert rows.resident(CPU, channels_last=not channels_last) is not held


def test_rows_are_copied_where_they_fit_and_where_it_pays():
    image, gib = Shape((3, 64, 64), channels_last=True), 2**30
    as_in_the_file = Shape((3, 64, 64), channels_last=False)
    assert worth_a_copy(16 * gib, image, GPU, free=70 * gib)
    assert not worth_a_copy(16 * gib, image, GPU, free=22 * gib)
    assert not worth_a_copy(16 * gib, image, CPU)
    assert worth_a_copy(gib // 8, image, CPU)
    assert not worth_a_copy(gib // 8, as_in_the_file, CPU)


def test_what_torch_keeps_for_itself_is_free_too(monkeypatch):
    gib = 2**30
    known = {"mem_get_info": (4 * gib, 80 * gib), "memory_reserved": 70 * gib, "memory_allocated": 10 * gib}
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert worth_a_copy(32 * gib, Shape((3, 64, 64), channels_last=True), GPU)
    assert not worth_a_copy(33 * gib, Shape((3, 64, 64), channels_last=True), GPU)


def test_rows_that_stay_on_the_host_of_an_accelerator_are_told(caplog):
    caplog.set_level("INFO")
    Rows(images()).resident(CPU, channels_last=False)
    assert caplog.text == ""
    Rows(images()).resident(torch.device("meta"), channels_last=True)
    assert "30 prepared rows (0.0 GiB) stay in the host's memory: no room for them on meta" in caplog.text


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.booleans(), st.booleans())
def test_rows_are_the_same_wherever_they_lie(number, chunk, copied, channels_last):
    rows = Rows(images(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resident, "CHUNK", chunk)
        patch.setattr(resident, "worth_a_copy", lambda *ignored: copied)
        held = rows.resident(CPU, channels_last=channels_last)
    index = torch.randint(0, number, (11,), generator=torch.Generator().manual_seed(number))
    np.testing.assert_array_equal(held.at(index), rows.inputs[index.numpy()])
    np.testing.assert_array_equal(held.between(1, number), rows.inputs[1:])
    assert not channels_last or held.at(index).is_contiguous(memory_format=torch.channels_last)


def test_rows_that_stay_on_the_host_are_sent_batch_by_batch():
    held = Rows(images()).resident(torch.device("meta"), channels_last=True)  # it has no memory of its own
    assert held.device == CPU
    for batch, number in ((held.at(torch.tensor([3, 1, 4, 1])), 4), (held.between(5, 12), 7)):
        assert batch.shape == (number, 3, 4, 5)
        assert batch.device.type == "meta"


# -- what is made of them --------------------------------------------------------------------------------


def brighter(inputs: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return inputs + np.float32(0.5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("layout", "alter"), [("blocks", False), ("mixed", False), ("mixed", True)])
def test_every_holder_normalises_after_scale_and_corruption(layout, alter, channels_last):
    rows, replica = Rows(images(), 1 / 255, NORMALISATION), plain(1)
    changed = {"altered": np.array([2, 5]), "alter": brighter} if alter else {}
    replica = Replica(1, replica.index, replica.targets, replica.source, **changed)
    data = TrainingData(rows, [replica], layout=layout, channels_last=channels_last)
    assert isinstance(data.inputs, Shared if (layout, alter) == ("mixed", False) else Arranged)
    scaled = rows.inputs.astype(np.float64) / 255
    mean, deviation = np.array(NORMALISATION)[:, :, None, None]
    trained = scaled[replica.index]
    trained[[2, 5]] += 0.5 if alter else 0
    np.testing.assert_allclose(everything(data)[0], (trained - mean) / deviation, rtol=1e-5, atol=1e-6)
    tested = TestData(rows, [np.zeros(30)], channels_last=channels_last).take(1, 0, 30)[0][0]
    np.testing.assert_allclose(tested, (scaled - mean) / deviation, rtol=1e-5, atol=1e-6)


def test_test_rows_of_each_seed_are_those_of_its_index():
    rows, index = Rows(images(), 1 / 255, NORMALISATION), [np.array([3, 9, 1]), np.array([8, 8, 2])]
    whole = TestData(rows, [np.zeros(30)]).take(1, 0, 30)[0][0]
    own = TestData(rows, [np.zeros(3), np.ones(3)], index, channels_last=True)
    for k, chosen in enumerate(index):
        torch.testing.assert_close(own.take(2, 1, 3)[0][k], whole[chosen[1:]])


# -- rows that are numbers of words ------------------------------------------------------------------------


def reversed_words(inputs: np.ndarray, positions: np.ndarray) -> np.ndarray:
    assert inputs.dtype == np.int32
    return inputs[:, ::-1].copy()


@pytest.mark.parametrize("alter", [False, True])
@pytest.mark.parametrize("layout", ["blocks", "mixed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_words_stay_integers(layout, alter, dtype):
    words = np.random.default_rng(0).integers(0, 50_000_000, (30, 6), dtype=np.int32)  # not exact as float32
    rows, replica = Rows(words, vocabulary=50_000_000), plain(1)
    changed = {"altered": np.array([2, 5]), "alter": reversed_words} if alter else {}
    replica = Replica(1, replica.index, replica.targets, replica.source, **changed)
    found = everything(TrainingData(rows, [replica], layout=layout, dtype=dtype))
    expected = words[replica.index]
    if alter:
        expected[[2, 5]] = expected[[2, 5], ::-1]
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(TestData(rows, [np.zeros(30)], dtype=dtype).take(1, 4, 9)[0][0], words[4:9])


def test_fewer_long_texts_are_evaluated_at_once():
    assert TestData(Rows(images()), [np.zeros(30)]).at_once == 500
    texts = Rows(np.zeros((30, 256), np.int32), vocabulary=2)
    assert TestData(texts, [np.zeros(30)]).at_once == 128
    assert Rows(np.zeros((1, 10**6), np.int32), vocabulary=2).at_once == 1


# -- corruption of prepared rows ---------------------------------------------------------------------------


def decided(name: str, seed: int, classes: int = 10, split: dict | None = None):
    """Rows, and a seed's artefact: 90 bright images, of which the corrupt ones are changed."""
    inputs = images(90)
    arrays = {"train/inputs": inputs, "train/targets": np.arange(90) % classes}
    arrays |= {"test/inputs": inputs[:5], "test/targets": np.arange(5) % classes}
    about = {"dataset": "own", "version": 1, "task": "classification", "classes": classes, "scale": 1 / 255}
    sources = {"number": 6, "corrupt": 4, "assignment": "random"}
    chosen = {"dataset": "own", "dataset_version": 1, "sources": sources, "name": name, "version": 1}
    return inputs, decide(
        CorruptionSettings.model_validate({**chosen, "split": split or {}}), arrays, about, seed
    )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layout", ["blocks", "mixed"])
def test_prepared_rows_are_corrupted_where_the_artefact_says_it(layout, channels_last):
    seeds = [1, 2]
    found = [decided("wrapped_noise_and_random_label", seed) for seed in seeds]
    inputs = found[0][0]
    replicas = [Replica.from_artefact(*artefact) for _, artefact in found]
    data = TrainingData(Rows(inputs, 1 / 255), replicas, layout=layout, channels_last=channels_last)
    assert isinstance(data.inputs, Shared)
    seen = everything(data).mul(255).round().to(torch.uint8).numpy()
    for k, (_, (arrays, _)) in enumerate(found):
        differs = (seen[k] != inputs[arrays["index"]]).any((1, 2, 3))
        np.testing.assert_array_equal(differs, arrays["is_altered"].astype(bool))
        assert 0 < differs.sum() < arrays["is_corrupted"].sum()
    again = TrainingData(Rows(inputs, 1 / 255), replicas[1:], layout="mixed")
    torch.testing.assert_close(everything(again)[0], everything(data)[1])


def test_rows_left_aside_are_corrupted_as_those_of_training():
    split = {"kind": "fraction", "train": 0.5}
    inputs, (arrays, about) = decided("wrapped_noise_and_random_label", 3, split=split)
    rows = Rows(inputs, 1 / 255)
    parts = {"": Replica.from_artefact(arrays, about), "validation_": Replica.left_aside(arrays, about)}
    for prefix, replica in parts.items():
        seen = everything(TrainingData(rows, [replica], layout="mixed"))[0].mul(255).round().numpy()
        differs = (seen != inputs[arrays[f"{prefix}index"]]).any((1, 2, 3))
        np.testing.assert_array_equal(differs, arrays[f"{prefix}is_altered"].astype(bool))


def test_inputs_are_altered_where_the_artefact_says_it_and_not_wherever_a_label_is_wrong():
    inputs, (arrays, about) = decided("noise_and_label_flip", 2, classes=2)
    altered, corrupted = (arrays[name].astype(bool) for name in ("is_altered", "is_corrupted"))
    assert (altered & corrupted).any()
    assert (corrupted & ~altered).any()
    seen = everything(
        TrainingData(Rows(inputs, 1 / 255), [Replica.from_artefact(arrays, about)], layout="mixed")
    )
    clean = inputs[arrays["index"]] * np.float32(1 / 255)
    np.testing.assert_array_equal((seen[0].numpy() != clean).any((1, 2, 3)), altered)


def test_rows_that_are_corrupted_batch_by_batch_do_not_limit_a_stack():
    inputs, artefact = decided("wrapped_noise_and_random_label", 1)
    replica = Replica.from_artefact(*artefact)
    large = Rows(np.empty((10, 3, 2000, 2000), np.uint8))
    for layout in ("blocks", "mixed"):
        assert widest_stack(large, replica, layout, torch.float32) == len(replica.index)
