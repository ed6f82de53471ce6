"""Datasets that use others, give further arrays, or leave each seed a choice of rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets import cifar_100, cifar_100n, datasets
from lapwing.datasets.base import Dataset
from lapwing.datasets.difficult_data import as_digits_are
from lapwing.datasets.download import download, download_files
from lapwing.datasets.prepare import prepare, prepare_files
from lapwing.errors import UserError
from lapwing.files import Array, content_hash, read_arrays
from tests.datasets.conftest import cifar_batch, dataset_of, md5, sha256, tar_of, torch_file


def prepared(key: str, tmp_path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    download(key, tmp_path / "raw" / key, [], True, [])
    prepare(key, tmp_path / "raw" / key, tmp_path / "out.safetensors")
    return read_arrays(tmp_path / "out.safetensors")


# -- further arrays --------------------------------------------------------------------------------

GIVEN = {
    "train/inputs": np.zeros((4, 2), np.float32),
    "train/targets": np.array([0, 9, 3, 4]),
    "test/inputs": np.zeros((2, 2), np.float32),
    "test/targets": np.array([1, 2]),
    "train/source": np.array([1, 0, 2, 1]),
    "train/worse": np.array([0, 0, 9, 4]),
    "train/kind": np.array([-1, 70, 0, 0]),
    "test/kind": np.array([5, -1]),
}


def giving(**changes: Any) -> Dataset:
    arrays = {**GIVEN, **{name.replace("_", "/"): array for name, array in changes.items()}}
    return dataset_of(
        read=lambda _: {name: array for name, array in arrays.items() if array is not None},
        rows={"train": 4, "test": 2},
        further={"source": "source", "worse": "labels", "kind": "detail"},
        groups={"difficult": (8, 9)},
        mirror_folder="",
    )


def prepare_small(dataset: Dataset, tmp_path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    download_files("small", dataset, tmp_path / "raw", offline=True)
    prepare_files("small", dataset, tmp_path / "raw", tmp_path / "out.safetensors")
    return read_arrays(tmp_path / "out.safetensors")


def test_further_arrays_and_groups_are_written(tmp_path: Path) -> None:
    arrays, about = prepare_small(giving(), tmp_path)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in GIVEN.items()
    }
    assert about["groups"] == {"difficult": [8, 9]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_source": np.array([0, 1, 3, 3])}, "train/source name the sources 0 to 3 with gaps"),
        ({"train_source": np.array([1, 1, 2, 2])}, "train/source name the sources 1 to 2 with gaps"),
        ({"train_source": np.array([-1, 0, 1, 2])}, "train/source name the sources -1 to 2 with gaps"),
        ({"train_source": np.zeros(4, np.int32)}, "train/source are int32 (4,), expected int64 (4,)"),
        ({"train_worse": np.array([0, 1, 2, 10])}, "train/worse hold the label 10, expected 0 to 9"),
        ({"train_worse": np.array([0, 1, 2])}, "train/worse are int64 (3,), expected int64 (4,)"),
        ({"test_kind": np.zeros((2, 1), np.int64)}, "test/kind are int64 (2, 1), expected int64 (2,)"),
        ({"test_kind": None}, "it gives test/inputs"),
        ({"test_worse": np.array([0, 1])}, "it gives test/inputs"),
    ],
)
def test_further_arrays_that_do_not_fit_are_told(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        prepare_small(giving(**changes), tmp_path)
    assert str(caught.value).startswith(f"small: {sentence}")
    assert not (tmp_path / "out.safetensors").exists()


# -- the labels of CIFAR-N, with small files of the official formats ---------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), dtype=np.uint8)
FINE = [99, 0, 7, 42, 42, 3, 1, 2, 50]
NOISY = [98, 0, 7, 42, 0, 3]

Bring = Callable[[dict[str, Any]], Dataset]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "cifar_100n"


@pytest.fixture
def bring(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Brings CIFAR-100 of six and three images, and the labels of a test, to their raw folders."""
    parts = {"train": slice(0, 6), "test": slice(6, 9), "meta": slice(0, 0)}
    inner = {
        f"cifar-100-python/{name}": cifar_batch(PIXELS[part], fine_labels=FINE[part])
        for name, part in parts.items()
    }
    archive = tar_of({**inner})
    file = cifar_100.DATASET.files[0]
    members = tuple(replace(member, md5=md5(inner[member.name])) for member in file.members)
    images = replace(file, size=len(archive), md5=md5(archive), members=members)
    mirror = raw.parent / "mirror"
    (mirror / "cifar-100").mkdir(parents=True)
    (mirror / "cifar-100" / file.name).write_bytes(archive)
    monkeypatch.setattr(cifar_100, "DATASET", replace(cifar_100.DATASET, files=(images,)))
    download("cifar_100", raw.with_name("cifar_100"), [mirror], True, [])

    def with_labels(labels: dict[str, Any]) -> Dataset:
        content = torch_file(labels)
        labels_file = replace(cifar_100n.DATASET.files[0], size=len(content), sha256=sha256(content))
        dataset = replace(cifar_100n.DATASET, files=(labels_file,), rows={"train": 6, "test": 3})
        (mirror / "cifar-n").mkdir()
        (mirror / "cifar-n" / labels_file.name).write_bytes(content)
        download_files("cifar_100n", dataset, raw, [mirror], offline=True)
        return dataset

    return with_labels


def test_cifar_100n_is_cifar_100_and_the_labels_of_people(bring: Bring, raw: Path, tmp_path: Path) -> None:
    dataset = bring({"clean_label": np.array(FINE[:6]), "noisy_label": np.array(NOISY), "coarse": [1, 2]})
    prepare_files("cifar_100n", dataset, raw, tmp_path / "out.safetensors")
    arrays, about = read_arrays(tmp_path / "out.safetensors")
    assert np.array_equal(arrays["train/inputs"], PIXELS[:6])
    assert arrays["train/targets"].tolist() == FINE[:6]
    assert arrays["train/noisy"].tolist() == NOISY
    assert arrays["test/targets"].tolist() == FINE[6:]
    members = {f"cifar_100/cifar-100-python/{name}" for name in ("train", "test", "meta")}
    assert set(about["raw"]) == {"CIFAR-100_human.pt", *members}
    assert "groups" not in about


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            {"clean_label": np.roll(FINE[:6], 1)},
            "belongs to other images: its clean labels differ for 5 of 6",
        ),
        ({"noisy_label": np.array(NOISY[:5])}, "has no noisy_label for 6 images"),
        ({"noisy_label": np.array(NOISY, np.int16)}, "has no noisy_label for 6 images"),
        ({"noisy_label": NOISY}, "has no noisy_label for 6 images"),
        ({"clean_label": None}, "has no clean_label for 6 images"),
    ],
)
def test_labels_that_do_not_belong_to_the_images_are_refused(
    labels: dict[str, Any], sentence: str, bring: Bring, raw: Path, tmp_path: Path
) -> None:
    dataset = bring({"clean_label": np.array(FINE[:6]), "noisy_label": np.array(NOISY), **labels})
    with pytest.raises(UserError) as caught:
        prepare_files("cifar_100n", dataset, raw, tmp_path / "out.safetensors")
    assert str(caught.value).startswith(f"{raw}/CIFAR-100_human.pt {sentence}")


@pytest.mark.parametrize("damage", ["flipped", "deleted", "no folder"])
def test_damaged_file_of_a_used_dataset_is_named(
    damage: str, bring: Bring, raw: Path, tmp_path: Path
) -> None:
    dataset = bring({"clean_label": np.array(FINE[:6]), "noisy_label": np.array(NOISY)})
    used = raw.with_name("cifar_100")
    path = used / "cifar-100-python" / "test"
    if damage == "flipped":
        path.write_bytes(path.read_bytes().replace(b"fine", b"Fine"))
    elif damage == "deleted":
        path.unlink()
    else:
        used.rename(used.with_name("elsewhere"))
    with pytest.raises(UserError, match=str(used)):
        prepare_files("cifar_100n", dataset, raw, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


# -- made on the spot --------------------------------------------------------------------------------


def test_two_moons_are_those_of_the_specification(tmp_path: Path) -> None:
    from sklearn.datasets import make_moons

    arrays, about = prepared("two_moons", tmp_path)
    assert arrays["train/inputs"].shape == (8000, 2)
    assert arrays["test/inputs"].shape == (2000, 2)
    points, labels = make_moons(10_000, noise=0.1, random_state=42)
    expected = np.column_stack([points.astype(np.float32), labels])
    found = [
        np.column_stack([arrays[f"{split}/inputs"], arrays[f"{split}/targets"]])
        for split in ("train", "test")
    ]
    assert np.array_equal(np.unique(np.concatenate(found), axis=0), np.unique(expected, axis=0))
    assert np.bincount(arrays["train/source"]).tolist() == [1634, 1564, 1518, 1654, 1630]
    sources = dict(zip(map(tuple, points.astype(np.float32)), moon_sources(), strict=True))
    assert [sources[tuple(point)] for point in arrays["train/inputs"]] == arrays["train/source"].tolist()
    assert (about["classes"], about["scale"]) == (2, 1.0)


def moon_sources() -> list[int]:
    return np.random.default_rng(43).integers(0, 5, size=10_000).tolist()


def test_the_weak_annotator_of_digits_is_often_wrong_and_more_so_of_some_digits(tmp_path: Path) -> None:
    arrays, _ = prepared("digits_n", tmp_path)
    digits, _ = prepared("digits", tmp_path / "digits")
    assert all(np.array_equal(arrays[name], digits[name]) for name in digits)
    wrong = arrays["train/worse"] != arrays["train/targets"]
    assert wrong.mean() == pytest.approx(0.39, abs=0.01)
    of_each = [wrong[arrays["train/targets"] == digit].mean() for digit in range(10)]
    assert min(of_each) < 0.05
    assert max(of_each) > 0.8
    # The content of version 1: a change of it, whoever makes it, calls for a new version.
    assert (
        content_hash(tmp_path / "out.safetensors")
        == "10c4c1f0663f388136e08c64210a9ce0d427083d546375a7e15c513788544e58"
    )


def test_difficult_digits_are_digits_and_cuttings_of_photographs(tmp_path: Path) -> None:
    arrays, about = prepared("difficult_digits", tmp_path)
    digits, _ = prepared("digits", tmp_path / "digits")
    for split, of_each in (("train", 195), ("test", 65)):
        few = len(digits[f"{split}/targets"])
        assert np.array_equal(arrays[f"{split}/inputs"][:few], digits[f"{split}/inputs"])
        assert arrays[f"{split}/targets"].tolist() == [
            *digits[f"{split}/targets"].tolist(), *[10] * of_each, *[11] * of_each
        ]  # fmt: skip
        assert 10 < arrays[f"{split}/inputs"][few:].max() <= 16
    assert about["groups"] == {"difficult": [10, 11]}
    # The content of version 1: a change of it, whoever makes it, calls for a new version.
    assert (
        content_hash(tmp_path / "out.safetensors")
        == "734c475ae43e18f68d878c0f33783418f14c391a686bbeaaf4e85f938c105e3a"
    )


def test_cuttings_for_training_and_for_the_test_come_from_different_areas(tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_image

    arrays, _ = prepared("difficult_digits", tmp_path)
    whole = Image.fromarray(load_sample_image("flower.jpg")).convert("L").reduce(4)
    grey = np.rint(np.asarray(whole) / 255 * 16)
    train = arrays["train/inputs"][arrays["train/targets"] == 11][:, 0]
    test = arrays["test/inputs"][arrays["test/targets"] == 11][:, 0]
    assert np.array_equal(train[:15].swapaxes(0, 1).reshape(8, 120), grey[:8, :120])
    assert np.array_equal(test[:5].swapaxes(0, 1).reshape(8, 40), grey[:8, 120:160])


# -- views -------------------------------------------------------------------------------------------


def test_every_seed_takes_all_difficult_digits(tmp_path: Path) -> None:
    arrays, _ = prepared("difficult_digits", tmp_path)
    view = datasets.get("difficult_digits").view(arrays, 3)
    assert view.train.tolist() == list(range(1827))
    assert view.test.tolist() == list(range(490))
    assert np.array_equal(view.train_targets, arrays["train/targets"])
    assert np.array_equal(view.test_targets, arrays["test/targets"])
    assert view.source.tolist() == [-1] * 1437 + [0] * 390


CIFAR_CLASSES = np.array([3, 0, 9, 4, 3, 1, 8, 2, 7, 6, 5, 0])
SOME = {
    f"{split}/{name}": array
    for split in ("train", "test")
    for name, array in {
        "targets": np.array([5, 0, 9, *[10] * 12]),
        "photograph": np.array([-1, -1, -1, *CIFAR_CLASSES]),
    }.items()
}


@pytest.mark.parametrize("seed", range(43, 48))
def test_a_seed_takes_two_classes_of_photographs(seed: int) -> None:
    first, second = np.random.default_rng(seed).choice(10, size=2, replace=False)
    view = datasets.get("difficult_data").view(SOME, seed)
    taken = [row for row in range(12) if CIFAR_CLASSES[row] in (first, second)]
    labels = [10 if CIFAR_CLASSES[row] == first else 11 for row in taken]
    for rows, targets in ((view.train, view.train_targets), (view.test, view.test_targets)):
        assert rows.tolist() == [0, 1, 2, *(row + 3 for row in taken)]
        assert targets.tolist() == [5, 0, 9, *labels]
    assert view.source.tolist() == [-1, -1, -1, *[0] * len(taken)]
    assert SOME["train/targets"].tolist() == [5, 0, 9, *[10] * 12]


def test_seeds_take_different_classes() -> None:
    views = [datasets.get("difficult_data").view(SOME, seed) for seed in range(43, 48)]
    assert len({tuple(view.train) for view in views}) > 1


def test_photographs_become_grey_and_as_large_as_digits() -> None:
    flat = np.empty((2, 3, 32, 32), np.uint8)
    flat[0], flat[1] = np.array([255, 0, 0])[:, None, None], np.array([10, 200, 100])[:, None, None]
    grey = as_digits_are(flat)
    assert grey.shape == (2, 1, 28, 28)
    assert grey.dtype == np.uint8
    assert np.unique(grey[0]).tolist() == [76]  # 0.299 x 255
    assert np.unique(grey[1]).tolist() == [132]  # 0.299 x 10 + 0.587 x 200 + 0.114 x 100


def test_a_smaller_photograph_shows_the_same() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8) * 8, (1, 3, 32, 32))
    rows = as_digits_are(ramp)[0, 0].astype(int)
    assert (rows == rows[0]).all()
    expected = ((np.arange(28) + 0.5) * 32 / 28 - 0.5) * 8
    np.testing.assert_allclose(rows[0][1:-1], expected[1:-1], atol=1)
