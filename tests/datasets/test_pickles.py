"""Official pickles are read; whatever else a pickle asks for is named and not run."""

import codecs
import collections
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets import pickles
from lapwing.datasets.pickles import read_batch, read_pickle, read_torch_file
from lapwing.errors import UserError
from tests.datasets.conftest import cifar_batch, torch_file

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
        cifar_batch(IMAGES, labels=[1.0, 1.7, 2.0, 2.9]),
        cifar_batch(IMAGES, labels=["1", "2", "3", "4"]),
        cifar_batch(IMAGES, labels=[True, False, True, False]),
        cifar_batch(IMAGES, labels=[1, 2, 3, 2**63]),
        pickle.dumps({"data": IMAGES.reshape(4, -1), "labels": np.arange(4) / 2}, 2),
        pickle.dumps({"data": IMAGES.reshape(4, -1), "labels": np.arange(4, dtype=np.uint64)}, 2),
        pickle.dumps({"data": IMAGES.reshape(4, -1), "labels": np.zeros((4, 1), np.int64)}, 2),
    ],
    ids=[
        "too few labels",
        "other labels",
        "text",
        "other type",
        "grey",
        "list",
        "ragged",
        "fractions",
        "digits",
        "truth values",
        "large number",
        "array of fractions",
        "array of large numbers",
        "array of rows",
    ],
)
def test_pickle_that_is_no_batch_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_batch(path, b"labels")


@pytest.mark.parametrize("kind", ["<i8", ">i4", "u1"])
def test_labels_may_be_an_array_of_whole_numbers(kind: str, tmp_path: Path) -> None:
    labels = np.array([3, 9, 0, 200], kind) if kind == "u1" else np.array([3, 9, 0, 300], kind)
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": IMAGES.reshape(4, -1), "labels": labels}, 2))
    _, found = read_batch(tmp_path / "batch", b"labels")
    assert found.dtype == np.int64
    assert found.tolist() == labels.tolist()


# -- small files that ask for much ---------------------------------------------------------------------


def nested(opened: bytes, closed: bytes) -> bytes:
    """What a few bytes make a tree of 2^60 leaves: each level holds the one below it twice."""
    levels = (b"q%c0" % level + opened + b"h%c" % level * 2 + closed for level in range(60))
    return b"N" + b"".join(levels)


BATCH = cifar_batch(IMAGES)[:-1] + b"U\6labels"
BOMBS = {
    "a far place in the memory": (b"\x80\2Nr\xff\xff\xff\x0f.", "is no batch of images"),
    "labels in nested lists": (BATCH + nested(b"(", b"l") + b"s.", "is no batch of images"),
    "nested tuples as a key": (b"\x80\2}" + nested(b"", b"\x86") + b"Ns.", "is not a whole pickle"),
    "nested tuples in a set": (b"\x80\4\x8f(" + nested(b"", b"\x86") + b"\x90.", "is not a whole pickle"),
    "room for bytes": (b"\x80\5\x96" + (2**29).to_bytes(8, "little") + b".", "is not a whole pickle"),
    "text again and again": (
        b"\x80\4c_codecs\nencode\nq\0X"
        + (2**20).to_bytes(4, "little")
        + b"x" * 2**20
        + b"q\1X\6\0\0\0latin1q\2"
        b"(" + b"h\0h\1h\2\x86R" * 500 + b"l.",
        "is not a whole pickle",
    ),
}
MEASURED = """
import resource, sys
from pathlib import Path
from lapwing.datasets.pickles import read_batch
from lapwing.errors import UserError

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
try:
    read_batch(Path(sys.argv[1]), b"labels")
except UserError as refused:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, refused)
"""


@pytest.mark.parametrize(("content", "sentence"), BOMBS.values(), ids=BOMBS)
def test_small_file_that_asks_for_much_is_refused_at_once(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "bomb").write_bytes(content)
    child = [sys.executable, "-c", MEASURED, str(tmp_path / "bomb")]
    run = subprocess.run(child, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    kilobytes, _, told = run.stdout.partition(" ")
    assert told.startswith(f"{tmp_path}/bomb {sentence}")
    assert "MemoryError" not in told
    assert int(kilobytes) < 32 * 1024


def test_object_that_was_never_begun_is_refused(tmp_path: Path) -> None:
    assert "is not a whole pickle" in refusal(b"\x80\2cnumpy\nndarray\n)\x81.", tmp_path)


# -- arrays that are not what they say -----------------------------------------------------------------


def pickled_array(**parts: Any) -> bytes:
    """A pickle of an array of three numbers, with some parts of its description replaced."""
    kind = Asks(np.dtype, parts.get("code", "i8"), False, True)
    state = (1, parts.get("shape", (3,)), kind, False, parts.get("content", bytes(24)))

    class Described:
        def __reduce__(self) -> Any:
            reconstruct = np.empty(0).__reduce__()[0]
            return reconstruct, (np.ndarray, (0,), b"b"), state

    return pickle.dumps(Described(), 4)


def test_array_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pickled_array(content=np.arange(3).tobytes()))
    assert read_pickle(tmp_path / "file").tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("code", ["<i8", ">i4", "<f4", "u1", "b1"])
def test_arrays_of_numbers_come_back_as_they_were(code: str, order: Any, tmp_path: Path) -> None:
    array = np.array(np.arange(6).reshape(2, 3) % 2, dtype=code, order=order)
    (tmp_path / "file").write_bytes(pickle.dumps({"x": array}, 2))
    found = read_pickle(tmp_path / "file")["x"]
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    "parts",
    [
        {"code": "O8", "content": [1, 2, 3]},
        {"code": "V8"},
        {"code": "U2"},
        {"code": "M8[s]"},
        {"code": "i8,i8"},
        {"code": 7},
        {"code": [("a", "O")]},
        {"shape": (4,)},
        {"shape": (2,)},
        {"shape": (-3,)},
        {"shape": (2**60, 2**60)},
        {"shape": "three"},
        {"content": "text"},
        {"content": [1, 2, 3]},
    ],
    ids=str,
)
def test_array_of_anything_but_as_many_numbers_as_it_says_is_refused(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    assert "is not a whole pickle" in refusal(pickled_array(**parts), tmp_path)


def test_type_that_is_changed_by_its_state_is_refused(tmp_path: Path) -> None:
    class Changed:
        def __reduce__(self) -> Any:
            return np.dtype, ("i8", False, True), (3, "<", None, ("a",), {"a": 1}, 1000, 1, 63)

    assert "is not a whole pickle" in refusal(pickle.dumps(Changed(), 2), tmp_path)


@pytest.mark.parametrize(
    "arguments", [("00", "hex"), ("text", "utf-16"), (b"bytes", "latin1"), ("\u20ac", "latin1")]
)
def test_text_becomes_bytes_in_one_way_only(arguments: tuple[Any, str], tmp_path: Path) -> None:
    assert "is not a whole pickle" in refusal(pickle.dumps(Asks(codecs.encode, *arguments), 4), tmp_path)


# -- zip files of PyTorch ------------------------------------------------------------------------------

LABELS = {"clean_label": np.arange(300), "coarse": [1, 2, 300]}


def torch_refusal(content: bytes, folder: Path) -> str:
    path = folder / "labels.pt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_torch_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["archive", "CIFAR-100_human"])
def test_arrays_that_torch_saved_are_read_without_it(folder: str, tmp_path: Path) -> None:
    (tmp_path / "labels.pt").write_bytes(torch_file(LABELS, folder))
    assert b"_codecs" in torch_file(LABELS)
    found = read_torch_file(tmp_path / "labels.pt")
    assert found["clean_label"].tolist() == list(range(300))
    assert found["coarse"] == [1, 2, 300]


def test_file_of_torch_itself_is_read(tmp_path: Path) -> None:
    import torch

    torch.save(LABELS, tmp_path / "labels.pt")
    assert np.array_equal(read_torch_file(tmp_path / "labels.pt")["clean_label"], LABELS["clean_label"])


def test_tensor_of_torch_is_named_and_not_made(tmp_path: Path) -> None:
    import torch

    torch.save({"clean_label": torch.arange(3)}, tmp_path / "tensor.pt")
    assert "asks for torch" in torch_refusal((tmp_path / "tensor.pt").read_bytes(), tmp_path)


def test_call_inside_a_zip_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = torch_refusal(torch_file(Asks(os.system, "touch evil")), tmp_path)
    assert re.search(r"it asks for (posix|nt)\.system", sentence)
    assert os.listdir(tmp_path) == ["labels.pt"]


def other_zip(name: str, content: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps(LABELS, 2),
        torch_file(LABELS)[:-30],
        flipped(torch_file(LABELS)),
        other_zip("archive/other.pkl"),
        other_zip("data.pkl"),
        other_zip("../archive/data.pkl"),
        torch_file(b"no pickle"),
        torch_file(b""),
    ],
    ids=[
        "empty",
        "pickle",
        "truncated",
        "flipped",
        "other",
        "no folder",
        "path",
        "no pickle",
        "empty pickle",
    ],
)
def test_other_files_than_those_of_torch_are_named(content: bytes, tmp_path: Path) -> None:
    torch_refusal(content, tmp_path)


def test_zip_file_that_would_become_huge_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "_LARGEST", 1000)
    bomb = other_zip("archive/data.pkl", bytes(10**6), zipfile.ZIP_DEFLATED)
    assert "a small data.pkl in a zip" in torch_refusal(bomb, tmp_path)


def sentence_about(content: bytes, path: Path) -> str:
    """What is said of a file; nothing where it can be read."""
    path.write_bytes(content)
    try:
        (read_torch_file if content.startswith(b"PK") else read_pickle)(path)
    except UserError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("content", [torch_file(LABELS), pickle.dumps(LABELS, 2)], ids=["zip", "pickle"])
def test_whatever_bytes_are_changed_is_at_most_told(content: bytes, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sentences = []
    for _ in range(1000):
        changed = bytearray(content)
        for place in generator.integers(2, len(content), 3):
            changed[place] = generator.integers(256)
        sentences.append(sentence_about(changed, tmp_path / "file"))
    told = [sentence for sentence in sentences if sentence]
    assert told
    assert all(sentence.startswith(f"{tmp_path}/file ") and "\n" not in sentence for sentence in told)
