"""What every artefact promises, whatever the settings, and the sentence that each mistake gets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, corrupt_inputs, decide, write_corruption
from lapwing.corruption.sources import Sources, assign_sources
from lapwing.datasets import datasets
from lapwing.errors import UserError
from lapwing.files import DamagedFile, content_hash, read_arrays, write_arrays
from lapwing.schema import validate
from tests.conftest import corruptions_of_images

ALL = corruptions_of_images()
LABELS = ["random_label", "batch_label_shuffle", "batch_label_flip"]
INPUTS = ["chunk_shuffle", "added_noise", "replaced_noise"]
ABOUT = {"dataset": "toy", "version": 1, "task": "classification", "classes": 10}
REGRESSION = {**ABOUT, "task": "regression", "classes": None}

Artefact = tuple[dict[str, np.ndarray], dict[str, Any]]


def toy(count: int, regression: bool = False) -> dict[str, np.ndarray]:
    """Images of 12 × 12, with labels from 0 to 9 or targets from 0.15 to 5."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 10, count)
    if regression:
        targets = generator.uniform(0.15, 5.0, count).astype(np.float32)
    inputs = generator.integers(0, 256, (count, 1, 12, 12), dtype=np.uint8)
    return {"train/inputs": inputs, "train/targets": targets, "test/targets": targets}


def wanted(**changes: Any) -> dict[str, Any]:
    """Settings as a study resolves them, some of them changed."""
    sources = {"number": 5, "corrupt": 2, "assignment": "blocks", "size": 16}
    name = changes.get("name", "random_label")
    version = corruptions.get(name).version if name in corruptions.names() else 1
    whole = {"dataset": "toy", "dataset_version": 1, "sources": sources, "name": name, "version": version}
    return {**whole, **changes}


def decided(count: int, seed: int = 2, **changes: Any) -> Artefact:
    return decide(CorruptionSettings(**wanted(**changes)), toy(count), ABOUT, seed)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(1, 8))
    sources = {"number": number, "corrupt": draw(st.integers(0, number)), "size": draw(st.integers(1, 40))}
    return {
        "count": draw(st.integers(1, 200)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "sources": sources,
        "level": draw(st.sampled_from([0.0, 0.3, 1.0])),
    }


def blocks_of(arrays: dict[str, np.ndarray], size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, len(arrays["source"]), size)]


@pytest.mark.parametrize("name", ALL)
@given(conditions=conditions())
@hypothesis_settings(deadline=None, max_examples=25)
def test_only_corrupted_samples_change(name: str, conditions: dict[str, Any]) -> None:
    arrays, about = decided(name=name, **conditions)
    true = toy(conditions["count"])["train/targets"][arrays["index"]]
    same = arrays["targets"] == true
    assert same[~arrays["is_corrupted"]].all()
    assert arrays["targets"].dtype == true.dtype
    assert set(arrays["targets"]) <= set(range(10))
    assert arrays["is_corrupt_source"].sum() == conditions["sources"]["corrupt"]
    assert not arrays["is_corrupted"][~arrays["is_corrupt_source"][arrays["source"]]].any()
    assert sorted(arrays["index"]) == list(range(conditions["count"]))
    changed = (~same).sum() / max(arrays["is_corrupted"].sum(), 1)
    assert about["changed_labels"] == pytest.approx(changed)


@given(conditions=conditions(), train=st.sampled_from([0.3, 0.9]))
@hypothesis_settings(deadline=None, max_examples=25)
def test_split_after_corruption_divides_what_was_decided_for_all(
    conditions: dict[str, Any], train: float
) -> None:
    conditions["count"] += 9  # enough for two parts
    whole, _ = decided(name="random_label", **conditions)
    split = {"kind": "after_corruption", "train": train}
    parts, about = decided(name="random_label", split=split, **conditions)
    size = int(train * conditions["count"])
    assert len(parts["index"]) == size
    assert sorted([*parts["index"], *parts["validation_index"]]) == list(range(conditions["count"]))
    labels = dict(zip(whole["index"], whole["targets"], strict=True))
    for prefix in ("", "validation_"):
        found = zip(parts[f"{prefix}index"], parts[f"{prefix}targets"], strict=True)
        assert all(labels[row] == label for row, label in found)
    np.testing.assert_array_equal(parts["is_corrupt_source"], whole["is_corrupt_source"])
    assert about["test_rows"] == "test"


@given(conditions=conditions())
@hypothesis_settings(deadline=None, max_examples=50)
def test_flipped_block_has_one_label_and_it_is_one_of_its_own(conditions: dict[str, Any]) -> None:
    arrays, _ = decided(name="batch_label_flip", **conditions)
    true = toy(conditions["count"])["train/targets"][arrays["index"]]
    for block in blocks_of(arrays, conditions["sources"]["size"]):
        given_labels = set(arrays["targets"][block][arrays["is_corrupted"][block]])
        assert len(given_labels) <= 1
        assert given_labels <= set(true[block])


@given(conditions=conditions())
@hypothesis_settings(deadline=None, max_examples=50)
def test_shuffled_block_keeps_its_labels(conditions: dict[str, Any]) -> None:
    arrays, _ = decided(name="batch_label_shuffle", **{**conditions, "level": 1.0})
    true = toy(conditions["count"])["train/targets"][arrays["index"]]
    for block in blocks_of(arrays, conditions["sources"]["size"]):
        assert sorted(arrays["targets"][block]) == sorted(true[block])


def test_random_label_is_one_map_of_classes_per_source() -> None:
    arrays, _ = decided(4000)
    true = toy(4000)["train/targets"][arrays["index"]]
    maps = {}
    for source in np.flatnonzero(arrays["is_corrupt_source"]):
        here = arrays["source"] == source
        maps[source] = {label: set(arrays["targets"][here & (true == label)]) for label in range(10)}
        assert all(len(images) == 1 for images in maps[source].values())
    first, second = maps.values()
    assert first != second


def test_uniform_random_label_is_drawn_for_each_sample() -> None:
    arrays, about = decided(4000, options={"draw": "uniform"})
    true = toy(4000)["train/targets"][arrays["index"]]
    assert about["changed_labels"] == pytest.approx(0.9, abs=0.03)
    for label in range(10):
        assert set(arrays["targets"][arrays["is_corrupted"] & (true == label)]) == set(range(10))


@pytest.mark.parametrize("assignment", [{"size": 16}, {"assignment": "random"}])
def test_random_target_of_a_regression_is_uniform_over_the_training_range(assignment: dict[str, Any]) -> None:
    prepared = toy(5000, regression=True)
    prepared.pop("test/targets")
    settings = CorruptionSettings(
        **wanted(
            split={"kind": "random_rows", "train": 0.8},
            sources={"number": 10, "corrupt": 4, **assignment},
            options={"draw": "uniform"},
        )
    )
    arrays, about = decide(settings, prepared, REGRESSION, seed=3)
    true = prepared["train/targets"][arrays["index"]]
    new = arrays["targets"][arrays["is_corrupted"]]
    low, high = true.min(), true.max()
    assert new.dtype == np.float32
    assert (new >= low).all()
    assert (new <= high).all()
    histogram = np.histogram(new, bins=4, range=(low, high))[0] / len(new)
    np.testing.assert_allclose(histogram, 0.25, atol=0.05)
    for source in np.flatnonzero(arrays["is_corrupt_source"]):  # the noise knows nothing of the source
        assert arrays["targets"][arrays["source"] == source].mean() == pytest.approx(
            (low + high) / 2, abs=0.35
        )
    assert about["changed_labels"] > 0.99
    together = np.concatenate([arrays["index"], arrays["test_index"]])
    assert sorted(together) == list(range(5000))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"assignment": "random"}, [1, 8, 5, 7, 1, 2, 4, 4, 3, 1, 6, 5]),
        ({"size": 8}, [2, 3, 8, 1, 8, 0, 8, 0, 5, 6, 1, 6]),
    ],
)
def test_draws_without_a_published_record_are_those_of_version_1(
    sources: dict[str, Any], expected: list[int]
) -> None:
    """Other numbers here ask for a new version of the corruption."""
    whole = {"number": 5, "corrupt": 5, **sources}
    level = 0.5 if "size" in sources else 1.0
    arrays, _ = decided(40, sources=whole, options={"draw": "uniform"}, level=level)
    assert arrays["targets"][:12].tolist() == expected
    if level < 1:
        assert np.flatnonzero(arrays["is_corrupted"])[:8].tolist() == [0, 1, 6, 9, 10, 16, 17, 18]


def test_random_regression_targets_are_those_of_version_1() -> None:
    """Other numbers here ask for a new version of random_label."""
    sources = {"number": 5, "corrupt": 5, "assignment": "random"}
    settings = CorruptionSettings(**wanted(sources=sources, options={"draw": "uniform"}))
    arrays, _ = decide(settings, toy(40, regression=True), REGRESSION, seed=2)
    np.testing.assert_allclose(arrays["targets"][:4], [4.184430, 3.688540, 1.672948, 2.355877], rtol=1e-6)


def test_original_draws_corrupt_sources_and_corrupts_nothing() -> None:
    corrupted, _ = decided(400)
    for level in (0.5, 1.0):
        arrays, about = decided(400, name="original", level=level)
        assert not arrays["is_corrupted"].any()
        assert about["changed_labels"] == 0
        for same in ("index", "source", "is_corrupt_source"):
            np.testing.assert_array_equal(arrays[same], corrupted[same])


@pytest.mark.parametrize("name", ["random_label", "chunk_shuffle"])
def test_level_is_the_share_that_is_corrupted(name: str) -> None:
    shares = {}
    for level in (0.0, 0.25, 0.75, 1.0):
        arrays, _ = decided(8000, name=name, level=level)
        belongs = arrays["is_corrupt_source"][arrays["source"]]
        shares[level] = arrays["is_corrupted"][belongs].mean()
    assert shares[0.0] == 0
    assert shares[1.0] == 1
    assert shares[0.25] == pytest.approx(0.25, abs=0.03)
    assert shares[0.75] == pytest.approx(0.75, abs=0.03)


def test_rows_split_off_never_are_trained_on() -> None:
    arrays, about = decided(400, split={"kind": "fraction", "train": 0.75})
    assert len(arrays["index"]) == 300
    assert sorted([*arrays["index"], *arrays["validation_index"]]) == list(range(400))
    assert "test_index" not in arrays
    assert about["test_rows"] == "test"


@pytest.mark.parametrize("name", ALL)
def test_what_is_left_aside_is_corrupted_as_a_training_set_of_its_own(name: str) -> None:
    arrays, _ = decided(400, name=name, split={"kind": "fraction", "train": 0.75})
    true = toy(400)["train/targets"][arrays["validation_index"]]
    changed = arrays["validation_targets"] != true
    assert not changed[~arrays["validation_is_corrupted"]].any()
    assert arrays["validation_is_corrupted"].any() == arrays["is_corrupted"].any()
    if name in LABELS:
        assert changed.any()


@pytest.mark.parametrize("name", ["batch_label_flip", "batch_label_shuffle"])
def test_labels_that_are_drawn_in_every_step_are_left_to_training(name: str) -> None:
    sources = {"number": 5, "corrupt": 2, "assignment": "random"}  # a batch needs no blocks
    arrays, about = decided(400, name=name, options={"form": "batch"}, sources=sources)
    np.testing.assert_array_equal(arrays["targets"], toy(400)["train/targets"][arrays["index"]])
    assert about["label_rule"]["name"] == name
    assert arrays["is_corrupted"].sum() == arrays["is_corrupt_source"][arrays["source"]].sum() > 0


def test_blocks_of_one_sample_make_as_many_sources_as_asked_for() -> None:
    arrays, _ = decided(400, sources={"number": 250, "corrupt": 100, "size": 1})
    assert set(np.bincount(arrays["source"], minlength=250)) == {1, 2}
    arrays, _ = decided(400, sources={"number": 500, "corrupt": 200, "size": 1})
    assert len(set(arrays["source"])) == 400  # a source cannot have less than a sample


def test_levels_of_graded_flips_are_those_of_the_sources_in_the_order_drawn() -> None:
    levels = [0.025, 0.25, 1.0]
    sources = {"number": 4, "corrupt": 3, "assignment": "random"}
    arrays, about = decided(4000, name="graded_label_flip", sources=sources, options={"levels": levels})
    true = toy(4000)["train/targets"][arrays["index"]]
    for source, level in zip(about["corrupt_sources"], levels, strict=True):
        own = arrays["source"] == source
        assert (arrays["targets"] != true)[own].sum() == int(level * own.sum())
    flipped = arrays["is_corrupted"]
    np.testing.assert_array_equal(arrays["targets"][flipped], (true[flipped] + 1) % 10)


def test_a_seed_of_graded_flips_gives_all_runs_the_same_data() -> None:
    sources = {"number": 4, "corrupt": 3, "assignment": "dealt"}
    options = {"levels": [0.025, 0.25, 1.0], "seed": 48}
    one, other = (
        decided(400, seed=seed, name="graded_label_flip", sources=sources, options=options)[0]
        for seed in (2, 4)
    )
    assert all((one[name] == other[name]).all() for name in one)


def test_two_moons_have_the_published_noisy_sources() -> None:
    dataset = datasets.get("two_moons")
    prepared = dataset.read(Path())
    about = {**ABOUT, "dataset": "two_moons", "classes": 2}
    sources = {"number": 5, "corrupt": 4, "assignment": "dealt"}
    settings = wanted(dataset="two_moons", name="graded_label_flip", sources=sources, options={"seed": 48})
    arrays, said = decide(CorruptionSettings(**settings), prepared, about, seed=7)
    assert said["corrupt_sources"] == [2, 0, 1, 3]
    shares = [arrays["is_corrupted"][arrays["source"] == source].mean() for source in (2, 0, 1, 3, 4)]
    np.testing.assert_allclose(shares, [0.025, 0.05, 0.25, 1.0, 0.0], atol=0.001)
    np.testing.assert_array_equal(arrays["source"], prepared["train/source"][arrays["index"]])


# -- who supplied what is said by the dataset or by the corruption ------------------------------------


def test_sources_that_the_dataset_names_stay() -> None:
    prepared = {**toy(300), "train/source": np.arange(300) % 7}
    sources = {"number": 7, "corrupt": 3, "assignment": "given"}
    arrays, about = decide(CorruptionSettings(**wanted(sources=sources)), prepared, ABOUT, seed=2)
    np.testing.assert_array_equal(arrays["source"], arrays["index"] % 7)
    assert len(set(about["corrupt_sources"])) == 3
    few = CorruptionSettings(**wanted(sources={**sources, "number": 6}))
    with pytest.raises(UserError, match=r"sources\.number: the dataset names 7 sources \(it is 6\)"):
        decide(few, prepared, ABOUT, seed=2)
    with pytest.raises(UserError, match="given needs a dataset that says of every row who supplied it"):
        decide(CorruptionSettings(**wanted(sources=sources)), toy(300), ABOUT, seed=2)


def test_fixed_sources_follow_the_dealt_ones_and_are_never_corrupt() -> None:
    known = np.where(np.arange(1000) < 900, -1, 0)
    sources = Sources(number=5, corrupt=4, assignment="random")
    assignment = assign_sources(sources, 1000, seed=3, given=known)
    assert set(assignment.source[:900]) == {0, 1, 2, 3}
    assert set(assignment.source[900:]) == {4}
    assert sorted(assignment.corrupt) == [0, 1, 2, 3]
    for wrong in (Sources(number=5, corrupt=5, assignment="random"), Sources(number=5, corrupt=4, size=10)):
        with pytest.raises(UserError, match="sources"):
            assign_sources(wrong, 1000, seed=3, given=known)


def human(count: int = 1000, wrong: float = 0.4) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Digits with a further label for each training row, of which a share is wrong."""
    prepared = toy(count)
    labels = prepared["train/targets"].copy()
    labels[: int(wrong * count)] = (labels[: int(wrong * count)] + 1) % 10
    return {**prepared, "train/worse": labels}, {**ABOUT, "dataset": "digits_n"}


def human_settings(**changes: Any) -> CorruptionSettings:
    sources = {"number": 10, "corrupt": 4, "assignment": "dealt"}
    return CorruptionSettings(**wanted(dataset="digits_n", name="human_labels", sources=sources, **changes))


def test_human_labels_give_each_corrupt_source_its_level_of_wrong_labels() -> None:
    prepared, about = human()
    arrays, said = decide(human_settings(), prepared, about, seed=2)
    true = prepared["train/targets"][arrays["index"]]
    wrong = arrays["targets"] != true
    assert sorted(arrays["index"]) == list(range(1000))
    assert np.bincount(arrays["source"]).tolist() == [100] * 10
    shares = [wrong[arrays["source"] == source].sum() for source in said["corrupt_sources"]]
    assert shares == [25, 50, 75, 100]
    np.testing.assert_array_equal(wrong, arrays["is_corrupted"])
    np.testing.assert_array_equal(arrays["targets"][wrong], prepared["train/worse"][arrays["index"]][wrong])
    assert said["corrupt_sources"] == np.random.default_rng(2).choice(10, 4, replace=False).tolist()


def test_more_wrong_labels_than_there_are_get_one_sentence() -> None:
    with pytest.raises(UserError, match="need 250 wrong labels, and worse holds 200"):
        decide(human_settings(), *human(wrong=0.2), seed=2)


def test_a_view_chooses_rows_and_names_their_targets() -> None:
    """Difficult data: two classes of a second collection are a source of their own."""
    dataset = datasets.get("difficult_digits")
    prepared = dataset.read(Path())
    about = {**ABOUT, "dataset": "difficult_digits", "classes": dataset.classes}
    sources = {"number": 10, "corrupt": 8, "assignment": "random"}
    options = {"draw": "uniform"}
    whole = wanted(
        dataset="difficult_digits", dataset_version=dataset.version, sources=sources, options=options
    )
    about["version"] = dataset.version
    arrays, said = decide(CorruptionSettings(**whole), prepared, about, seed=2)
    difficult = arrays["source"] == 9
    assert set(arrays["targets"][difficult]) == {10, 11}
    assert not arrays["is_corrupted"][difficult].any()
    assert set(arrays["targets"][arrays["is_corrupted"]]) == set(range(10))  # digits alone are drawn
    assert said["test_rows"] == "test"
    assert len(arrays["test_index"]) == len(arrays["test_targets"])
    assert {10, 11} <= set(arrays["test_targets"])


@pytest.mark.parametrize("name", INPUTS)
def test_altered_input_depends_on_its_position_and_not_on_its_company(name: str) -> None:
    arrays, about = decided(200, name=name)
    positions = np.flatnonzero(arrays["is_corrupted"])
    inputs = (toy(200)["train/inputs"][arrays["index"][positions]] / 255).astype(np.float32)
    before = inputs.copy()
    together = corrupt_inputs(about["input_rule"], inputs, positions)
    backwards = corrupt_inputs(about["input_rule"], inputs[::-1], positions[::-1])
    np.testing.assert_array_equal(together, backwards[::-1])
    np.testing.assert_array_equal(inputs, before)
    assert together.dtype == np.float32
    assert (together != inputs).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("view", ["vector", "image"])
def test_chunk_shuffle_keeps_the_values_of_a_sample(view: str) -> None:
    inputs = np.random.default_rng(1).random((20, 3, 12, 14), dtype=np.float32)
    rule = {"name": "chunk_shuffle", "seed": 77, "view": view, "pieces": 5}
    altered = corrupt_inputs(rule, inputs, np.arange(20))
    assert altered.shape == inputs.shape
    np.testing.assert_array_equal(np.sort(altered.reshape(20, -1)), np.sort(inputs.reshape(20, -1)))
    channels_alike = np.repeat(inputs[:, :1], 3, axis=1)
    shuffled = corrupt_inputs(rule, channels_alike, np.arange(20))
    assert (shuffled == shuffled[:, :1]).all() == (view == "image")


def test_noise_has_the_mean_and_deviation_asked_for() -> None:
    inputs = np.full((200, 1, 12, 12), 10.0, np.float32)
    rule = {"seed": 5, "mean": 2.0, "std": 3.0}
    replaced = corrupt_inputs({"name": "replaced_noise", **rule}, inputs, np.arange(200))
    added = corrupt_inputs({"name": "added_noise", **rule}, inputs, np.arange(200))
    assert replaced.mean() == pytest.approx(2, abs=0.1)
    assert replaced.std() == pytest.approx(3, abs=0.1)
    np.testing.assert_array_equal(added, inputs + replaced)


# -- the artefact on disk --------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    write_arrays(path, toy(100), ABOUT)
    return path


@pytest.mark.parametrize("name", ALL)
def test_same_settings_and_seed_give_the_same_file(data: Path, tmp_path: Path, name: str) -> None:
    settings = CorruptionSettings(**wanted(name=name, split={"kind": "fraction"}))
    one, two, other = tmp_path / "one", tmp_path / "two", tmp_path / "other"
    write_corruption(data, settings, 2, one)
    write_corruption(data, settings.model_dump(mode="json"), 2, two)
    write_corruption(data, settings, 4, other)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != other.read_bytes()


def test_artefact_says_how_it_was_made(data: Path, tmp_path: Path) -> None:
    settings = CorruptionSettings(**wanted(name="added_noise", options={"std": 0.5}))
    write_corruption(data, settings, 2, tmp_path / "out")
    arrays, about = read_arrays(tmp_path / "out")
    assert CorruptionSettings(**about["settings"]) == settings
    assert about["key"] == settings.key
    assert about["seed"] == 2
    assert about["data"] == content_hash(data)
    assert about["input_rule"] | {"seed": 0} == {"name": "added_noise", "seed": 0, "mean": 0.0, "std": 0.5}
    assert arrays["is_corrupted"].dtype == np.bool_
    assert arrays["index"].dtype == arrays["source"].dtype == np.int64


def test_damaged_data_make_no_artefact(data: Path, tmp_path: Path) -> None:
    whole = bytearray(data.read_bytes())
    whole[-1] ^= 1
    data.write_bytes(whole)
    with pytest.raises(DamagedFile, match=r"toy\.safetensors is damaged"):
        write_corruption(data, wanted(), 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "digits"},
        {"dataset_version": 2},
        {"split": {"kind": "fraction"}},
        {"split": {"kind": "random_rows"}},
        {"split": {"kind": "fraction", "train": 0.8}},
        {"sources": {"number": 6, "corrupt": 2, "size": 16}},
        {"sources": {"number": 5, "corrupt": 1, "size": 16}},
        {"sources": {"number": 5, "corrupt": 2, "size": 17}},
        {"sources": {"number": 5, "corrupt": 2, "assignment": "random"}},
        {"name": "batch_label_flip"},
        {"version": 2},
        {"options": {"draw": "uniform"}},
        {"level": 0.5},
        {"shared": 1},
    ],
    ids=json.dumps,
)
def test_key_changes_with_every_setting(change: dict[str, Any]) -> None:
    assert CorruptionSettings(**wanted(**change)).key != CorruptionSettings(**wanted()).key


def test_key_is_the_same_whether_defaults_are_written_or_left_out() -> None:
    written = wanted(options={"draw": "class_map"}, level=1, split={"kind": "given"})
    assert CorruptionSettings(**written).key == CorruptionSettings(**wanted()).key


def test_deciding_imports_no_torch() -> None:
    program = (
        "import sys; from lapwing.corruption import base, corruptions, seeds\n"
        "for name in corruptions.names(): corruptions.get(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"sources": {"number": 4, "corrupt": 5, "size": 8}},
            "sources.corrupt: no more than the 4 sources that",
        ),
        ({"sources": {"number": 4, "corrupt": 1}}, "sources.size: the assignment blocks needs the number of"),
        (
            {"sources": {"number": 4, "corrupt": 1, "size": 8, "assignment": "random"}},
            "sources.size: the assignment random has no blocks",
        ),
        ({"sources": {"number": 0, "corrupt": 0, "size": 8}}, "sources.number: "),
        (
            {"sources": {"number": 4, "corupt": 1, "size": 8}},
            "unknown key sources.corupt; did you mean corrupt?",
        ),
        (
            {"split": {"kind": "given", "train": 0.5}},
            "split.train: the kinds fraction, after_corruption and random_rows take a share",
        ),
        ({"split": {"kind": "fraction", "train": 1.0}}, "split.train: "),
        ({"level": 1.5}, "level: "),
        ({"name": "random_lable"}, "unknown corruption random_lable; did you mean random_label?"),
        ({"options": {"drew": "uniform"}}, "options of random_label: unknown key drew; did you mean draw?"),
        ({"name": "chunk_shuffle", "options": {"pieces": 1}}, "options of chunk_shuffle: pieces: "),
        ({"name": "added_noise", "options": {"std": -1}}, "options of added_noise: std: "),
        ({"name": "original", "options": {"draw": "uniform"}}, "options of original: unknown key draw"),
    ],
)
def test_wrong_settings_get_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as problem:
        validate(CorruptionSettings, wanted(**change), "corruption")
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dataset": "digits"}, "dataset: the settings ask for digits, and the prepared data are of toy."),
        ({"dataset_version": 3}, "dataset_version: the settings ask for 3, and the prepared data are of 1."),
        ({"shared": 9}, "shared: the settings ask for version 9 of what all corruptions share"),
        ({"version": 9}, "version: the settings ask for version 9 of random_label"),
        (
            {"name": "batch_label_flip", "sources": {"number": 3, "corrupt": 1, "assignment": "random"}},
            "sources.assignment: batch_label_flip corrupts blocks of one source",
        ),
        (
            {"name": "chunk_shuffle", "options": {"pieces": 13}},
            "options.pieces: 12 values cannot be cut into 13 pieces.",
        ),
        (
            {"split": {"kind": "fraction", "train": 0.001}},
            "split.train: a share of 0.001 of 50 rows leaves one of the two parts empty.",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_get_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as problem:
        decided(50, **change)
    assert sentence in str(problem.value)


@pytest.mark.parametrize(
    ("arrays", "about", "sentence"),
    [
        (
            {"train/targets": np.array([0, 10, 3])},
            ABOUT,
            "training row 1 of toy is not a label between 0 and 9",
        ),
        (
            {"train/targets": np.array([0, 1, -1])},
            ABOUT,
            "training row 2 of toy is not a label between 0 and 9",
        ),
        ({"train/targets": np.array([0.0, 1.0, 2.0])}, ABOUT, "integer labels for classification"),
        ({"train/targets": np.array([0, 1])}, ABOUT, "one target for each of its training inputs"),
        ({"train/targets": np.array([1, 2, 3])}, {**ABOUT, "classes": None}, "needs a number of classes"),
        ({"train/targets": np.array([0.0, np.nan, 1.0])}, REGRESSION, "row 1 of toy is not a finite number"),
        ({"train/targets": np.array([0.0, 2.0, 1.0])}, REGRESSION, "options.draw: class_map maps classes"),
    ],
)
def test_targets_that_cannot_be_corrupted_get_one_sentence(
    arrays: dict[str, np.ndarray], about: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as problem:
        decide(CorruptionSettings(**wanted()), {**toy(3), **arrays}, about, seed=2)
    assert sentence in str(problem.value)


def test_data_without_test_rows_must_be_split() -> None:
    prepared = toy(50)
    prepared.pop("test/targets")
    with pytest.raises(UserError, match=r"split\.kind: toy has no test rows of its own.*random_rows"):
        decide(CorruptionSettings(**wanted()), prepared, ABOUT, seed=2)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_that_generators_refuse_gets_one_sentence(seed: int) -> None:
    with pytest.raises(UserError, match="seed: it must lie between 0 and 4294967295"):
        decided(50, seed=seed)


def test_columns_are_no_image() -> None:
    prepared = toy(50)
    prepared["train/inputs"] = prepared["train/inputs"].reshape(50, -1)
    settings = CorruptionSettings(**wanted(name="chunk_shuffle"))
    with pytest.raises(UserError, match=r"options\.view: an image has channels.*\(144,\); use vector"):
        decide(settings, prepared, ABOUT, seed=2)


def test_rule_of_a_label_corruption_is_refused() -> None:
    with pytest.raises(UserError, match="the corruption random_label does nothing to inputs"):
        corrupt_inputs({"name": "random_label", "seed": 1}, np.zeros((1, 4), np.float32), np.array([0]))
