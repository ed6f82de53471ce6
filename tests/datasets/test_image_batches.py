"""ImageNet64 and its stand-in: official batch files become arrays, never more than two of them in memory."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.prepare_imagenet64 import VALUES, measure
from lapwing.datasets import imagenet64
from lapwing.datasets.base import Dataset
from lapwing.datasets.digits import read as read_digits
from lapwing.datasets.download import check_available, download, download_files
from lapwing.datasets.imagenet64 import DATASET, read_batches
from lapwing.datasets.prepare import prepare, prepare_files
from lapwing.errors import UserError
from lapwing.files import Array, read_arrays
from tests.datasets.conftest import cifar_batch
from tests.datasets.test_archive_members import zip_of

SIDE = 4


def images(rows: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (rows, 3, SIDE, SIDE), dtype=np.uint8)


def batch(rows: int, seed: int, protocol: int = 3, **changes: Any) -> bytes:
    """A batch as Python 3 pickled the official ones: rows, labels from 1, and the mean image."""
    data = images(rows, seed).reshape(rows, -1)
    labels = [1 + (seed + row) % 1000 for row in range(rows)]
    return pickle.dumps({"data": data, "labels": labels, "mean": data.mean(axis=0), **changes}, protocol)


def small(rows: int) -> Dataset:
    """ImageNet64 with few and small images, in its official archives: each batch has one row more."""

    def read(folder: Path) -> Any:
        return read_batches([folder / name for name in imagenet64.TRAIN], folder / imagenet64.TEST, SIDE)

    return replace(DATASET, input_shape=(3, SIDE, SIDE), rows={"train": rows, "test": 2}, read=read)


def write_archives(mirror: Path) -> None:
    (mirror / "imagenet64").mkdir()
    contents = {name: batch(number + 1, number) for number, name in enumerate(imagenet64.TRAIN)}
    contents[imagenet64.TEST] = batch(2, 999)
    for file in DATASET.files:
        members = {member.name: contents[member.name] for member in file.members}
        (mirror / "imagenet64" / file.name).write_bytes(zip_of(members))


def test_official_archives_become_arrays(tmp_path: Path) -> None:
    write_archives(tmp_path)
    dataset = small(sum(range(11)))
    download_files("imagenet64", dataset, tmp_path / "raw", [tmp_path], True, ["imagenet64"])
    prepare_files("imagenet64", dataset, tmp_path / "raw", tmp_path / "out.safetensors")
    arrays, about = read_arrays(tmp_path / "out.safetensors")
    expected = [images(number + 1, number) for number in range(10)]
    assert np.array_equal(arrays["train/inputs"], np.concatenate(expected))
    labels = [number + row for number in range(10) for row in range(number + 1)]
    assert arrays["train/targets"].tolist() == labels
    assert arrays["test/targets"].tolist() == [999, 0]
    assert about["normalisation"] == [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_of_any_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(batch(5, 0, protocol))
    found = read_batches([tmp_path / "batch"], tmp_path / "batch", SIDE)
    assert np.array_equal(np.concatenate(list(found["train/inputs"].chunks())), images(5, 0))  # type: ignore[union-attr]


def test_large_batch_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet64, "PIECE", 3)
    (tmp_path / "batch").write_bytes(batch(7, 0))
    found = read_batches([tmp_path / "batch"] * 2, tmp_path / "batch", SIDE)["train/inputs"]
    assert not isinstance(found, np.ndarray)
    assert found.shape == (14, 3, SIDE, SIDE)
    pieces = list(found.chunks())
    assert [len(piece) for piece in pieces] == [3, 3, 1] * 2
    assert all(piece.base is None or len(piece.base) < 7 for piece in pieces)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (batch(3, 0)[:-50], "is not a whole pickle"),
        (batch(3, 0, labels=[1, 2]), "and as many labels"),
        (batch(3, 0, data=np.zeros((3, 47), np.uint8)), "uint8 rows of 48"),
        (batch(3, 0, data=np.zeros((3, 48))), "uint8 rows of 48"),
        (pickle.dumps({b"data": b"", 3: 4}, 3), "is no batch of images"),
        (batch(3, 0, mean=Path()), "asks for pathlib"),
        (cifar_batch(images(3, 0), labels=[1, 2]), "and as many labels"),
    ],
)
def test_what_is_no_batch_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(UserError, match=f"{tmp_path}/batch.*{told}"):
        read_batches([tmp_path / "batch"], tmp_path / "batch", SIDE)


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1001, 2]])
def test_label_beyond_the_classes_is_refused(labels: list[int], tmp_path: Path) -> None:
    for name in (*imagenet64.TRAIN, imagenet64.TEST):
        (tmp_path / name).write_bytes(batch(3, 0, labels=labels))
    download_files("imagenet64", small(30), tmp_path / "raw", [tmp_path], True, ["imagenet64"])
    with pytest.raises(UserError, match=r"hold the label (-1|1000), expected 0 to 999"):
        prepare_files("imagenet64", small(30), tmp_path / "raw", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_no_more_than_two_batches_are_in_memory(tmp_path: Path) -> None:
    rows = 5000
    cost = measure(tmp_path, rows)
    assert cost.peak > rows * VALUES
    assert cost.peak - cost.before < 2 * rows * VALUES


def test_terms_are_asked_for_before_anything_is_fetched(tmp_path: Path) -> None:
    sentence = check_available("imagenet64", [tmp_path], True, [])
    assert sentence is not None
    assert "add imagenet64 to data.accept" in sentence


def test_digits_come_back_out_of_batches(tmp_path: Path) -> None:
    download("digit_batches", tmp_path / "raw", [], True, [])
    prepare("digit_batches", tmp_path / "raw", tmp_path / "out.safetensors")
    arrays, about = read_arrays(tmp_path / "out.safetensors")
    digits = read_digits(Path())
    order = np.concatenate([np.arange(len(digits["train/targets"]))[start::4] for start in range(4)])
    assert np.array_equal(arrays["train/targets"], digits["train/targets"][order])
    assert np.array_equal(arrays["test/targets"], digits["test/targets"])
    means = arrays["train/inputs"].reshape(-1, 3, 8, 2, 8, 2).mean((3, 5))
    np.testing.assert_allclose(means, digits["train/inputs"][order].repeat(3, 1) * (255 / 16), atol=1)
    assert about["normalisation"][0] == [0.485, 0.456, 0.406]
