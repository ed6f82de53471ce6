"""What each dataset declares is whole, and asking for it costs no heavy import."""

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

import lapwing
from lapwing.datasets import datasets
from lapwing.datasets.base import Dataset

KEYS = [
    "beats",
    "california_housing",
    "cifar_10",
    "cifar_100",
    "cifar_100n",
    "cifar_10n",
    "diabetes",
    "difficult_data",
    "difficult_digits",
    "digit_batches",
    "digit_folders",
    "digits",
    "digits_n",
    "fashion_mnist",
    "generated_raters",
    "generated_reviews",
    "goemotions",
    "goemotions_agreed",
    "imagenet64",
    "imdb",
    "mnist",
    "ptb_xl",
    "tiny_imagenet",
    "two_moons",
]
UNPUBLISHED = {"GoEmotions", "ImageNet64", "PTB-XL"}
"""Datasets of whose files nobody publishes a digest: that of the first download is recorded."""


@pytest.fixture(params=KEYS)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return datasets.get(request.param)


def test_each_file_is_a_dataset_and_no_other_is() -> None:
    assert set(KEYS) == set(datasets.names())
    assert all(isinstance(datasets.get(key), Dataset) for key in datasets.names())


def test_task_classes_and_scale_agree(dataset: Dataset) -> None:
    assert (dataset.task == "classification") == (dataset.classes is not None)
    assert (len(dataset.input_shape) == 3) == (dataset.scale < 1)
    assert dataset.licence
    assert set(dataset.rows) <= {"train", "test"}
    assert dataset.total in (None, sum(dataset.rows.values()))


def test_fetched_files_have_a_digest_an_address_and_a_place_in_the_mirror(dataset: Dataset) -> None:
    for file in dataset.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "0" * 64)
        assert re.fullmatch("[0-9a-f]{32}", file.md5 or "0" * 32)
        published = bool(file.sha256 or (file.md5 and file.size))  # a SHA-256, or an MD5 and the size
        assert published != (dataset.title in UNPUBLISHED)
        assert file.urls
        assert all(re.match("https?://[^/]+/", url) for url in file.urls)
        assert dataset.mirror_folder
    for content in dataset.kept:
        path = PurePosixPath(content.name)
        assert not path.is_absolute()
        assert ".." not in path.parts


def test_what_is_used_beside_its_own_files_uses_nothing_itself(dataset: Dataset) -> None:
    assert all(datasets.get(used).uses == () for used in dataset.uses)


def test_recorded_signals_have_a_name_and_a_unit_each(dataset: Dataset) -> None:
    if (recording := dataset.recording) is not None:
        assert len(set(recording.leads)) == len(recording.units) == dataset.input_shape[0]
        assert recording.frequency > 0


def test_groups_name_classes_of_the_dataset(dataset: Dataset) -> None:
    assert all(set(classes) < set(range(dataset.classes or 0)) for classes in dataset.groups.values())


def test_datasets_are_declared_without_torch_or_scikit_learn() -> None:
    code = (
        "import sys\n"
        "import lapwing.datasets.download, lapwing.datasets.prepare\n"
        "from lapwing.datasets import datasets\n"
        "[datasets.get(key) for key in datasets.names()]\n"
        "print({'torch', 'sklearn', 'requests', 'PIL'} & set(sys.modules))\n"
    )
    environment = {"PYTHONPATH": str(Path(lapwing.__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
    )
    assert result.stdout.strip() == "set()", result.stderr
