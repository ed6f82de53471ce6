"""Tiny-ImageNet and its stand-in: folders of JPEG images become arrays; what is not one is named."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lapwing.datasets import datasets
from lapwing.datasets.digits import read as read_digits
from lapwing.datasets.download import check_available, download
from lapwing.datasets.prepare import prepare
from lapwing.datasets.tiny_imagenet import ANNOTATIONS, TREE, read_folders
from lapwing.errors import UserError
from lapwing.files import Array, Streamed, read_arrays

SIDE = 8
Members = dict[str, bytes]


def jpeg(value: int | tuple[int, int, int], side: int = SIDE, form: str = "JPEG") -> bytes:
    """An image of one colour, or of one grey."""
    buffer = io.BytesIO()
    mode = "L" if isinstance(value, int) else "RGB"
    Image.new(mode, (side, side), value).save(buffer, form, quality=100)
    return buffer.getvalue()


def small() -> Members:
    """Two classes with three and two images, of which some are grey; three test images."""
    folders = {"n00000009": [10, 20, 30], "n00000002": [40, (50, 60, 70)]}
    members = {f"{TREE}/wnids.txt": b"n00000009\nn00000002\n"}
    for folder, values in folders.items():
        for number, value in reversed(list(enumerate(values))):
            members[f"{TREE}/train/{folder}/images/{folder}_{number + 9}.JPEG"] = jpeg(value)
        members[f"{TREE}/train/{folder}/{folder}_boxes.txt"] = b"boxes"
    for number in (0, 10, 9):
        members[f"{TREE}/val/images/val_{number}.JPEG"] = jpeg(100 + number)
    classes = {10: "n00000009", 9: "n00000002", 0: "n00000002"}
    lines = [f"val_{number}.JPEG\t{folder}\t0\t0\t7\t7\n" for number, folder in classes.items()]
    members[ANNOTATIONS] = "".join(lines).encode()
    return members


def arrays_of(members: Members, folder: Path) -> dict[str, Array]:
    with zipfile.ZipFile(folder / "small.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    found = read_folders(folder / "small.zip", SIDE)
    return {name: whole(array) for name, array in found.items()}


def whole(array: Array | Streamed) -> Array:
    return np.concatenate(list(array.chunks())) if isinstance(array, Streamed) else array


def test_classes_are_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    arrays = arrays_of(small(), tmp_path)
    assert arrays["train/targets"].tolist() == [0, 0, 1, 1, 1]
    assert arrays["train/inputs"].shape == (5, 3, SIDE, SIDE)
    assert arrays["train/inputs"].dtype == np.uint8
    # red, green and blue of a grey image are its plane; 9, 10, 11 is the order of numbers, not of text
    colours = [[40] * 3, [50, 60, 70], [10] * 3, [20] * 3, [30] * 3]
    np.testing.assert_allclose(arrays["train/inputs"].mean((2, 3)), colours, atol=1)


def test_test_images_are_matched_with_their_annotations_by_file_name(tmp_path: Path) -> None:
    arrays = arrays_of(small(), tmp_path)
    assert arrays["test/targets"].tolist() == [0, 0, 1]
    assert arrays["test/inputs"][:, 0, 0, 0].tolist() == [100, 109, 110]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (f"{TREE}/val/images/val_9.JPEG", jpeg(1)[:200], "val_9.JPEG is no JPEG of 8 x 8 pixels"),
        (f"{TREE}/val/images/val_9.JPEG", b"text", "val_9.JPEG is no JPEG of 8 x 8 pixels"),
        (f"{TREE}/val/images/val_9.JPEG", jpeg(1, form="PNG"), "val_9.JPEG is no JPEG of 8 x 8 pixels"),
        (f"{TREE}/val/images/val_9.JPEG", jpeg(1, side=9), r"\(it has 9 x 9 pixels\)"),
        (f"{TREE}/val/images/val_9.JPEG", jpeg(1, side=5000), r"\(it has 5000 x 5000 pixels\)"),
        (f"{TREE}/val/images/val_3.JPEG", jpeg(1), "names no class of the training images for val_3.JPEG"),
        (ANNOTATIONS, b"val_0.JPEG\tn1\nval_9.JPEG\tn00000002", "names no class .* for val_0.JPEG"),
        (ANNOTATIONS, b"val_0.JPEG n00000002", f"holds no {ANNOTATIONS} with a file name, a tab"),
        (ANNOTATIONS, b"\xff\t", f"holds no {ANNOTATIONS} with a file name, a tab"),
        (ANNOTATIONS, None, f"holds no {ANNOTATIONS} with a file name, a tab"),
    ],
)
def test_what_is_no_image_or_of_no_class_is_named(
    name: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    members: dict[str, Any] = {**small(), name: content}
    with pytest.raises(UserError, match=rf"^small\.zip.*{told}") as caught:
        arrays_of({name: some for name, some in members.items() if some is not None}, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "val"])
def test_archive_without_images_is_refused(split: str, tmp_path: Path) -> None:
    members = {name: some for name, some in small().items() if not name.startswith(f"{TREE}/{split}/")}
    with pytest.raises(UserError, match=f"small.zip holds no images {TREE}/{split}/"):
        arrays_of(members, tmp_path)


def test_names_that_no_image_has_are_left_alone(tmp_path: Path) -> None:
    endless = {f"{TREE}/val/images/{'1' * 60_000}.JPEG": b"", f"{TREE}/val/images/.JPEG": b""}
    assert len(arrays_of({**small(), **endless}, tmp_path)["test/targets"]) == 3


def prepared(
    key: str, folder: Path, mirrors: list[Path], part: bool
) -> tuple[dict[str, Array], dict[str, Any]]:
    download(key, folder / "raw", mirrors, True, ["tiny_imagenet"], part=part)
    prepare(key, folder / "raw", folder / "out.safetensors", part=part)
    return read_arrays(folder / "out.safetensors")


def test_digits_come_back_out_of_folders_of_jpegs(tmp_path: Path) -> None:
    arrays, about = prepared("digit_folders", tmp_path, [], part=False)
    digits = read_digits(Path())
    for split in ("train", "test"):
        images, labels = arrays[f"{split}/inputs"], arrays[f"{split}/targets"]
        assert np.array_equal(np.bincount(labels), np.bincount(digits[f"{split}/targets"]))
        assert images.shape == (len(labels), 3, 32, 32)
    order = np.argsort(
        digits["train/targets"], kind="stable"
    )  # classes, and digits in their order within each
    means = arrays["train/inputs"].reshape(-1, 3, 8, 4, 8, 4).mean((1, 3, 5))
    np.testing.assert_allclose(means, digits["train/inputs"][order, 0] * (255 / 16), atol=12)
    assert about["scale"] == 1 / 255


def test_terms_are_asked_for_before_anything_is_fetched(tmp_path: Path) -> None:
    sentence = check_available("tiny_imagenet", [tmp_path], True, [])
    assert sentence is not None
    assert "add tiny_imagenet to data.accept" in sentence


@pytest.mark.real_data
def test_twenty_real_classes(mirror: Path, tmp_path: Path) -> None:
    arrays, about = prepared("tiny_imagenet", tmp_path, [mirror], part=True)
    assert arrays["train/inputs"].shape == (2000, 3, 64, 64)
    assert np.bincount(arrays["train/targets"]).tolist() == [100] * 20
    assert np.bincount(arrays["test/targets"]).tolist() == [50] * 20
    assert about["classes"] == 20
    red, green, blue = (arrays["train/inputs"].mean((0, 2, 3)) / 255).round(2).tolist()
    assert (red, green, blue) == (0.49, 0.46, 0.43)
    grey = (arrays["train/inputs"] == arrays["train/inputs"][:, :1]).all((1, 2, 3))
    assert 0 < grey.sum() < 100
    first = arrays["train/inputs"][0].astype(int)
    assert (
        np.abs(np.diff(first, axis=2)).mean() < np.abs(first - np.roll(first, 17, 2)).mean()
    )  # rows are rows


@pytest.mark.real_data
def test_part_is_no_whole_collection(mirror: Path, tmp_path: Path) -> None:
    assert datasets.get("tiny_imagenet").rows == {"train": 100_000, "test": 10_000}
    with pytest.raises(UserError, match=r"lacks tiny-imagenet-200\.zip"):
        prepared("tiny_imagenet", tmp_path, [mirror], part=False)
