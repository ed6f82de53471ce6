"""From raw files to arrays: what is declared comes out, or one sentence says what does not fit."""

import gzip
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets import cifar_100, datasets
from lapwing.datasets.base import Dataset, Member
from lapwing.datasets.download import download, download_files
from lapwing.datasets.idx import read_idx
from lapwing.datasets.prepare import prepare, prepare_files, words_of
from lapwing.errors import UserError
from lapwing.files import Array, Streamed, content_hash, read_arrays
from tests.datasets.conftest import cifar_batch, dataset_of, md5, tar_of


def prepared(key: str, tmp_path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    download(key, tmp_path / "raw" / key, [], True, [])
    prepare(key, tmp_path / "raw" / key, tmp_path / "out.safetensors")
    return read_arrays(tmp_path / "out.safetensors")


# -- embedded --------------------------------------------------------------------------------------


def test_digits_have_one_fixed_stratified_split(tmp_path: Path) -> None:
    arrays, about = prepared("digits", tmp_path)
    assert arrays["train/inputs"].shape == (1437, 1, 8, 8)
    assert arrays["test/inputs"].shape == (360, 1, 8, 8)
    assert arrays["train/inputs"].dtype == np.uint8
    assert arrays["train/inputs"].max() == 16
    assert np.bincount(arrays["test/targets"]).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert about == {
        "dataset": "digits",
        "version": 1,
        "task": "classification",
        "classes": 10,
        "scale": 1 / 16,
        "licence": datasets.get("digits").licence,
        "raw": {},
    }
    # The content of version 1: a change of it, whoever makes it, calls for a new version.
    assert (
        content_hash(tmp_path / "out.safetensors")
        == "5fe4e2fd514884f8d2fb2fb12d59ad1f2b5a827f48b96283ad8ae41d3d691643"
    )


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    arrays, _ = prepared("digits", tmp_path)
    images = np.concatenate([arrays["train/inputs"], arrays["test/inputs"]]).reshape(-1, 64)
    labels = np.concatenate([arrays["train/targets"], arrays["test/targets"]])
    rows = np.column_stack([images, labels])
    expected = np.column_stack([load_digits().data.astype(int), load_digits().target])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))


def test_diabetes_is_a_regression_whose_study_makes_the_split(tmp_path: Path) -> None:
    arrays, about = prepared("diabetes", tmp_path)
    assert set(arrays) == {"train/inputs", "train/targets"}
    assert arrays["train/inputs"].shape == (442, 10)
    assert arrays["train/inputs"].dtype == arrays["train/targets"].dtype == np.float32
    assert arrays["train/targets"].mean() == pytest.approx(1.5213, abs=1e-4)
    assert (about["task"], about["classes"], about["scale"]) == ("regression", None, 1.0)


def test_preparing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    prepared("digits", tmp_path)
    before = (tmp_path / "out.safetensors").read_bytes()
    prepared("digits", tmp_path)
    assert (tmp_path / "out.safetensors").read_bytes() == before


# -- CIFAR-100, from a small archive of the official format ----------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), dtype=np.uint8)
FINE = [99, 0, 7, 42, 42, 3, 1, 2, 50]


def small_cifar_100() -> tuple[Dataset, bytes]:
    """CIFAR-100 as declared, but of six and three images, and the archive that holds them."""
    lists = [{"fine_labels": part, "coarse_labels": [0] * len(part)} for part in (FINE[:6], FINE[6:])]
    inner = {
        "cifar-100-python/train": cifar_batch(PIXELS[:6], batch_label="training batch 1 of 1", **lists[0]),
        "cifar-100-python/test": cifar_batch(PIXELS[6:], batch_label="testing batch 1 of 1", **lists[1]),
        "cifar-100-python/meta": cifar_batch(PIXELS[:0], fine_label_names=["apple", "worm"]),
    }
    archive = tar_of({**inner, "cifar-100-python/file.txt~": b""})
    file = cifar_100.DATASET.files[0]
    members = tuple(replace(member, md5=md5(inner[member.name])) for member in file.members)
    small = replace(file, size=len(archive), md5=md5(archive), members=members)
    return replace(cifar_100.DATASET, files=(small,), rows={"train": 6, "test": 3}), archive


def test_cifar_100_goes_from_its_archive_to_arrays(tmp_path: Path) -> None:
    dataset, archive = small_cifar_100()
    mirror = tmp_path / "mirror" / "cifar-100"
    mirror.mkdir(parents=True)
    (mirror / "cifar-100-python.tar.gz").write_bytes(archive)
    raw = tmp_path / "raw" / "cifar_100"
    download_files("cifar_100", dataset, raw, [mirror.parent], offline=True)
    prepare_files("cifar_100", dataset, raw, tmp_path / "out.safetensors")
    arrays, about = read_arrays(tmp_path / "out.safetensors")
    assert np.array_equal(arrays["train/inputs"], PIXELS[:6])
    assert np.array_equal(arrays["test/inputs"], PIXELS[6:])
    assert arrays["train/targets"].tolist() == FINE[:6]
    assert arrays["test/targets"].tolist() == FINE[6:]
    assert about["classes"] == 100
    assert set(about["raw"]) == {f"cifar-100-python/{name}" for name in ("train", "test", "meta")}


# -- what does not fit -----------------------------------------------------------------------------

INPUTS = np.zeros((4, 2), np.float32)
TARGETS = np.array([0, 9, 3, 4])


def reading(**arrays: Any) -> Callable[[Path], dict[str, Array]]:
    whole = {"inputs": INPUTS, "targets": TARGETS, **arrays}
    return lambda _: {f"train/{part}": array for part, array in whole.items() if array is not None}


def prepare_small(dataset: Dataset, tmp_path: Path) -> Path:
    download_files("small", dataset, tmp_path / "raw", [tmp_path], offline=True)
    prepare_files("small", dataset, tmp_path / "raw", tmp_path / "out" / "small.safetensors")
    return tmp_path / "out" / "small.safetensors"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"inputs": INPUTS[:3]}, "train/inputs have shape (3, 2), expected (4, 2)"),
        ({"inputs": INPUTS.astype(np.float64)}, "train/inputs are float64, expected uint8 or float32"),
        ({"inputs": INPUTS / np.float32(np.nan)}, "train/inputs hold a value that is not finite"),
        ({"targets": TARGETS[:3]}, "train/targets are int64 (3,), expected int64 (4,)"),
        ({"targets": TARGETS.astype(np.uint8)}, "train/targets are uint8 (4,), expected int64 (4,)"),
        ({"targets": TARGETS + 1}, "train/targets hold the label 10, expected 0 to 9"),
        ({"targets": TARGETS - 1}, "train/targets hold the label -1, expected 0 to 9"),
        ({"targets": None}, "it gives train/inputs, expected train/inputs, train/targets"),
        ({"more": TARGETS}, "it gives train/inputs, train/more, train/targets, expected"),
    ],
)
def test_arrays_that_do_not_fit_are_told(wrong: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare_small(dataset_of(read=reading(**wrong)), tmp_path)
    assert str(caught.value).startswith(f"small: {sentence}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [(TARGETS, "are int64 (4,), expected float32"), (np.float32([0, np.inf, 1, 2]), "is not finite")],
)
def test_targets_that_are_no_finite_numbers_are_told(targets: Array, sentence: str, tmp_path: Path) -> None:
    dataset = dataset_of(read=reading(targets=targets), task="regression", classes=None)
    with pytest.raises(UserError) as caught:
        prepare_small(dataset, tmp_path)
    assert sentence in str(caught.value)


def test_fitting_arrays_are_written(tmp_path: Path) -> None:
    arrays, _ = read_arrays(prepare_small(dataset_of(read=reading()), tmp_path))
    assert arrays["train/targets"].tolist() == TARGETS.tolist()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "deleted"])
def test_damaged_raw_file_is_named_with_the_command_that_puts_it_right(damage: str, tmp_path: Path) -> None:
    dataset, archive = small_cifar_100()
    (tmp_path / "cifar-100").mkdir()
    (tmp_path / "cifar-100" / "cifar-100-python.tar.gz").write_bytes(archive)
    prepare_small(dataset, tmp_path)
    path = tmp_path / "raw" / "cifar-100-python" / "test"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-1])
    if damage == "deleted":
        path.unlink()
    with pytest.raises(UserError) as caught:
        prepare_files("small", dataset, tmp_path / "raw", tmp_path / "again.safetensors")
    assert str(caught.value).startswith(f"{path} is {'missing' if damage == 'deleted' else 'damaged'}")
    assert str(caught.value).endswith(f"rm -r {tmp_path / 'raw'}")
    assert not (tmp_path / "again.safetensors").exists()


def test_raw_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"There is no file {tmp_path}/manifest.json"):
        prepare("digits", tmp_path, tmp_path / "out.safetensors")
    assert not os.listdir(tmp_path)


# -- formats ---------------------------------------------------------------------------------------

HEADER = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])


def test_idx_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(gzip.compress(HEADER + bytes(range(6))))
    assert read_idx(tmp_path / "file.gz", (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER + bytes(6),
        gzip.compress(HEADER + bytes(6))[:-10],
        gzip.compress(HEADER + bytes(5)),
        gzip.compress(HEADER + bytes(10**6)),
        gzip.compress(b"\0\0\x0b" + HEADER[3:] + bytes(6)),
        gzip.compress(HEADER[:7] + b"\3" + HEADER[8:] + bytes(6)),
    ],
    ids=["empty", "not gzipped", "truncated", "too short", "too long", "16-bit numbers", "other shape"],
)
def test_other_files_than_the_idx_file_expected_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(UserError, match=f"{tmp_path}/file.gz"):
        read_idx(tmp_path / "file.gz", (2, 3))


def test_table_of_housing_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "CaliforniaHousing" / "cal_housing.data"
    path.parent.mkdir()
    for content in ("1,2,3\n", "1,2,3,4,5,6,7,8,nine\n", "1,2\n3\n"):
        path.write_text(content)
        with pytest.raises(UserError, match=str(path)):
            datasets.get("california_housing").read(tmp_path)


def test_members_declare_their_digest_or_that_of_a_copy() -> None:
    """Those of ImageNet64 are published nowhere (spec lap-experiments 15): they are recorded."""
    members = [
        content
        for key in datasets.names()
        for content in datasets.get(key).kept
        if isinstance(content, Member) and key != "imagenet64"
    ]
    assert len(members) == 11
    assert all(member.has_digest or member.copy_sha256 for member in members)


# -- tokens, parts, and what is too large for memory -------------------------------------------------


def prepared_of(dataset: Dataset, tmp_path: Path, **more: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """A dataset without files, prepared."""
    download_files("small", dataset, tmp_path / "raw")
    prepare_files("small", dataset, tmp_path / "raw", tmp_path / "out", **more)
    return read_arrays(tmp_path / "out")


def sentence_of(dataset: Dataset, tmp_path: Path, **more: Any) -> str:
    with pytest.raises(UserError) as told:
        prepared_of(dataset, tmp_path, **more)
    assert not (tmp_path / "out").exists()
    return str(told.value)


def texts(**changes: Any) -> dict[str, Array]:
    tokens = np.array([[2, 3], [4, 0], [1, 2], [2, 0]], np.int32)
    arrays = {
        "train/inputs": tokens,
        "train/targets": np.array([0, 1, 1, 0]),
        "vocabulary": np.frombuffer("<pad>\n<unk>\na\nb\nç".encode(), np.uint8),
    }
    return {**arrays, **changes}


def test_tokens_come_with_their_words(tmp_path: Path) -> None:
    dataset = dataset_of(inputs="tokens", classes=2, read=lambda folder: texts())
    arrays, about = prepared_of(dataset, tmp_path)
    assert arrays["train/inputs"].dtype == np.int32
    assert about["vocabulary"] == 5
    assert words_of(arrays["vocabulary"]) == ["<pad>", "<unk>", "a", "b", "ç"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"train/inputs": np.zeros((4, 2), np.int64)}, "train/inputs are int64, expected int32"),
        ({"train/inputs": np.full((4, 2), 5, np.int32)}, "train/inputs hold the word 5, expected 0 to 4"),
        ({"train/inputs": np.full((4, 2), -1, np.int32)}, "train/inputs hold the word -1, expected 0 to 4"),
    ],
)
def test_tokens_that_are_none_are_told(wrong: dict[str, Array], sentence: str, tmp_path: Path) -> None:
    dataset = dataset_of(inputs="tokens", classes=2, read=lambda folder: texts(**wrong))
    assert sentence in sentence_of(dataset, tmp_path)


def test_part_has_the_rows_and_classes_that_are_found(tmp_path: Path) -> None:
    def read(folder: Path) -> dict[str, Array]:
        source = np.array([0, 2, 2])
        inputs = np.zeros((3, 2), np.float32)
        return {"train/inputs": inputs, "train/targets": np.array([0, 3, 1]), "train/source": source}

    dataset = dataset_of(read=read, partial=True, further={"source": "source"})
    assert "train/inputs have shape (3, 2), expected (4, 2)" in sentence_of(dataset, tmp_path)
    assert "shape" in sentence_of(replace(dataset, partial=False), tmp_path, part=True)
    arrays, about = prepared_of(dataset, tmp_path, part=True)
    assert about["classes"] == 4
    assert arrays["train/source"].tolist() == [0, 2, 2]


def rows_of(train: int, test: int, sources: Sequence[int] = (0, 1)) -> Callable[[Path], dict[str, Array]]:
    """A reader that gives so many rows of two classes."""
    arrays: dict[str, Array] = {"train/source": np.resize(sources, train)}
    for split, rows in (("train", train), ("test", test)):
        arrays[f"{split}/inputs"] = np.zeros((rows, 2), np.float32)
        arrays[f"{split}/targets"] = np.arange(rows) % 2
    return lambda folder: arrays


SUMMED: dict[str, Any] = {"rows": {"train": 4, "test": 2}, "total": 6, "further": {"source": "source"}}
"""Of whose rows only the sum is known."""


def test_rows_of_which_the_sum_is_published_are_those_that_are_found(tmp_path: Path) -> None:
    arrays, about = prepared_of(dataset_of(read=rows_of(5, 1), **SUMMED), tmp_path)
    assert (len(arrays["train/inputs"]), len(arrays["test/inputs"])) == (5, 1)
    assert about["classes"] == 10


@pytest.mark.parametrize(
    ("read", "sentence"),
    [
        (rows_of(4, 1), "it gives 5 rows in all, expected 6"),
        (rows_of(6, 1), "it gives 7 rows in all, expected 6"),
        (rows_of(0, 6), "it gives no row to train on"),
        (rows_of(5, 1, sources=(0, 2)), "name the sources 0 to 2 with gaps"),
    ],
)
def test_rows_that_are_not_the_published_sum_are_told(
    read: Callable[[Path], dict[str, Array]], sentence: str, tmp_path: Path
) -> None:
    assert sentence in sentence_of(dataset_of(read=read, partial=True, **SUMMED), tmp_path)


def test_part_need_not_have_the_published_sum_but_something_to_train_on(tmp_path: Path) -> None:
    dataset = dataset_of(read=rows_of(0, 1), partial=True, **SUMMED)
    assert "it gives no row to train on" in sentence_of(dataset, tmp_path, part=True)
    arrays, about = prepared_of(replace(dataset, read=rows_of(3, 1)), tmp_path, part=True)
    assert (len(arrays["train/inputs"]), about["classes"]) == (3, 2)


def test_streamed_inputs_are_written_chunk_by_chunk(tmp_path: Path) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(4, 2)
    inputs = Streamed(images.shape, images.dtype, lambda: iter([images[:3], images[3:]]))
    normalisation = ((0.5,), (0.25,))
    dataset = dataset_of(
        read=lambda folder: {"train/inputs": inputs, "train/targets": np.arange(4)},
        normalisation=normalisation,
    )
    arrays, about = prepared_of(dataset, tmp_path)
    np.testing.assert_array_equal(arrays["train/inputs"], images)
    assert about["normalisation"] == [[0.5], [0.25]]
    assert "recording" not in about
