"""Official pickles are read; whatever else a pickle asks for is named and not run."""

import collections
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets.pickles import read_batch, read_pickle
from lapwing.errors import UserError
from tests.datasets.conftest import cifar_batch

IMAGES = np.arange(4 * 3 * 32 * 32, dtype=np.uint32).astype(np.uint8).reshape(4, 3, 32, 32)


class Asks:
    """Its pickle asks for a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def refusal(content: bytes, folder: Path) -> str:
    path = folder / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_pickle(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_batch_in_the_format_of_python_2_is_read(tmp_path: Path) -> None:
    content = cifar_batch(IMAGES, labels=[3, 9, 0, 300], filenames=["a.png"] * 4)
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content
    (tmp_path / "batch").write_bytes(content)
    images, labels = read_batch(tmp_path / "batch", b"labels")
    assert np.array_equal(images, IMAGES)
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 9, 0, 300]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (Asks(os.system, "touch evil"), r"(posix|nt)\.system"),
        (Asks(eval, "open('evil', 'w')"), r"(builtins|__builtin__)\.eval"),
        (Asks(np.save, "evil", 1), r"numpy\.save"),
        (Asks(getattr, "text", "upper"), r"(builtins|__builtin__)\.getattr"),
        (collections.OrderedDict(), r"collections\.OrderedDict"),
        ({"data": [Asks(os.mkdir, "evil")]}, r"(posix|nt)\.mkdir"),
    ],
    ids=["system", "eval", "numpy function", "getattr", "harmless but unlisted", "nested"],
)
def test_call_that_is_not_on_the_list_is_named_and_not_run(
    payload: Any, named: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = refusal(pickle.dumps(payload, protocol), tmp_path)
    assert re.search(f"it asks for {named}, and only arrays", sentence), sentence
    assert os.listdir(tmp_path) == ["data_batch_1"]


def test_array_that_claims_a_huge_shape_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    reconstruct = np.empty(0).__reduce__()[0]
    huge = pickle.dumps(Asks(reconstruct, np.ndarray, (2**50,), b"b"), 4)
    assert "is not a whole pickle" in refusal(huge, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_pickle_is_named(share: float, tmp_path: Path) -> None:
    content = cifar_batch(IMAGES, labels=[1, 2, 3, 4])
    assert "is not a whole pickle" in refusal(content[: int(share * len(content))], tmp_path)


def test_foreign_object_reference_is_named(tmp_path: Path) -> None:
    assert "is not a whole pickle" in refusal(b"Pelsewhere\n.", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        cifar_batch(IMAGES, labels=[1, 2, 3]),
        cifar_batch(IMAGES, fine_labels=[1, 2, 3, 4]),
        cifar_batch(IMAGES, labels=["cat", "dog", "cat", "dog"]),
        cifar_batch(IMAGES.astype(np.int16), labels=[1, 2, 3, 4]),
        cifar_batch(IMAGES[:, :1], labels=[1, 2, 3, 4]),
        pickle.dumps([1, 2], 2),
        cifar_batch(IMAGES, labels=[[1], [2, 3], [4], [5]]),
    ],
    ids=["too few labels", "other labels", "text", "other type", "grey", "list", "ragged"],
)
def test_pickle_that_is_no_batch_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_batch(path, b"labels")
