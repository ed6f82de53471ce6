"""Whole files: what is read is what was written, or the file is named as damaged."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from lapwing import files
from lapwing.errors import UserError

ARRAYS = {
    "index": np.arange(64, dtype=np.int64),
    "is_corrupted": np.arange(64) % 3 == 0,
    "inputs": np.linspace(0, 1, 128, dtype=np.float32).reshape(64, 2),
}
FRAME = pd.DataFrame(
    {"method": ["lap", "standard"] * 16, "seed": np.arange(32), "value": np.linspace(0, 1, 32)}
)
CONTENT = [
    {"seed": 3, "seconds": 1.5, "diverged": None},
    {"seed": 4, "seconds": 2.5, "diverged": {"epoch": 2}},
]
ABOUT = {"dataset": "digits", "scale": 0.0625, "classes": 10}


class Kind:
    """One format: how to write the example, and how to read it as something that can be compared."""

    def __init__(self, name: str, write: Callable[[Path], None], read: Callable[[Path], Any]) -> None:
        self.name, self.write, self.read = name, write, read


def _plain_arrays(path: Path) -> Any:
    arrays, about = files.read_arrays(path)
    return {name: (array.dtype.str, array.tolist()) for name, array in sorted(arrays.items())}, about


KINDS = [
    Kind("arrays", lambda path: files.write_arrays(path, ARRAYS, ABOUT), _plain_arrays),
    Kind(
        "table",
        lambda path: files.write_table(path, FRAME, ABOUT),
        lambda path: files.read_table(path).to_dict("list"),
    ),
    Kind("json", lambda path: files.write_json(path, CONTENT, ABOUT), files.read_json),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


# -- what is read is what was written --------------------------------------------------------------


def test_what_is_read_is_what_was_written(kind: Kind, tmp_path: Path) -> None:
    expected = {
        "arrays": ({n: (a.dtype.str, a.tolist()) for n, a in sorted(ARRAYS.items())}, ABOUT),
        "table": FRAME.to_dict("list"),
        "json": CONTENT,
    }
    kind.write(tmp_path / "file")
    assert kind.read(tmp_path / "file") == expected[kind.name]
    assert os.listdir(tmp_path) == ["file"]


def test_who_may_read_a_file_is_what_the_umask_says(kind: Kind, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        kind.write(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_the_same_content_makes_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    kind.write(tmp_path / "first")
    kind.write(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
)


@given(
    arrays=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4)),
        max_size=3,
    )
)
def test_any_arrays_come_back_bit_for_bit(
    arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "file.safetensors"
    files.write_arrays(path, arrays, {})
    read, _ = files.read_arrays(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].shape == array.shape
        assert read[name].dtype == array.dtype.newbyteorder("=")
        assert read[name].tobytes() == array.astype(read[name].dtype).tobytes()


def streamed(array: np.ndarray, cuts: list[int]) -> files.Streamed:
    """The array in chunks that end at the cuts."""
    return files.Streamed(array.shape, array.dtype, lambda: iter(np.split(array, sorted(cuts))))


@given(
    arrays=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        hnp.arrays(DTYPES, hnp.array_shapes(min_dims=1, min_side=0, max_dims=3, max_side=5)),
        min_size=1,
    ),
    cuts=st.lists(st.integers(0, 5), max_size=3),
)
def test_streamed_arrays_are_read_as_if_they_had_been_whole(
    arrays: dict[str, np.ndarray], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("streamed")
    arrays = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    files.write_arrays(folder / "whole", arrays, ABOUT)
    name = next(iter(arrays))
    files.write_arrays(folder / "streamed", {**arrays, name: streamed(arrays[name], cuts)}, ABOUT)
    assert files.content_hash(folder / "streamed") == files.content_hash(folder / "whole")
    read, about = files.read_arrays(folder / "streamed")
    assert about == ABOUT
    theirs = safetensors.numpy.load_file(folder / "streamed")
    for key, array in arrays.items():
        assert read[key].tobytes() == theirs[key].tobytes() == array.tobytes()
        assert read[key].shape == theirs[key].shape == array.shape


@pytest.mark.parametrize(
    ("chunks", "what"),
    [
        ([np.zeros((2, 3), np.uint8)], "its chunks have 2 rows, expected 4"),
        ([np.zeros((4, 2), np.uint8)], "a chunk is uint8 (4, 2), expected uint8 (4, 3)"),
        ([np.zeros((4, 3), np.int8)], "a chunk is int8 (4, 3), expected uint8 (4, 3)"),
    ],
)
def test_chunks_that_are_not_what_was_announced_leave_no_file(
    chunks: list[np.ndarray], what: str, tmp_path: Path
) -> None:
    array = files.Streamed((4, 3), np.uint8, lambda: iter(chunks))
    with pytest.raises(ValueError, match=re.escape(f"inputs: {what}")):
        files.write_arrays(tmp_path / "file", {"inputs": array}, {})
    assert os.listdir(tmp_path) == []


def test_chunk_that_cannot_be_read_is_not_blamed_on_the_file_that_is_written(tmp_path: Path) -> None:
    def chunks() -> Iterator[np.ndarray]:
        yield np.zeros(2, np.uint8)
        (tmp_path / "batch").read_bytes()

    with pytest.raises(UserError, match=r"batch cannot be read: No such file or directory\.$"):
        files.write_arrays(tmp_path / "file", {"a": files.Streamed((4,), np.uint8, chunks)}, {})
    assert os.listdir(tmp_path) == []


def test_file_that_is_larger_than_memory_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse one; going through it to check its hash is left out."""
    page, memory = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    files.write_arrays(tmp_path / "file", {"large": np.zeros(0, np.uint8)}, {})
    size = memory + memory // 8
    content = (tmp_path / "file").read_bytes()
    of_none, of_all = (b'"shape":[%d],"data_offsets":[0,%d]' % (n, n) for n in (0, size))
    text = content[8:].replace(of_none, of_all)
    with (tmp_path / "file").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    empty = files._hash_of_arrays({"large": np.zeros(0, np.uint8)})
    monkeypatch.setattr(files, "_hash_of_arrays", lambda arrays: empty)
    read, _ = files.read_arrays(tmp_path / "file")
    assert len(read["large"]) == size
    assert read["large"][-page:].sum() == 0


def test_arrays_that_are_read_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "file", {"numbers": np.arange(4)}, {})
    read, _ = files.read_arrays(tmp_path / "file")
    read["numbers"][0] = 9
    again, _ = files.read_arrays(tmp_path / "file")
    assert again["numbers"].tolist() == [0, 1, 2, 3]


def test_views_of_arrays_come_back_as_what_they_show(tmp_path: Path) -> None:
    base = np.arange(24).reshape(4, 6)
    views = {"transposed": base.T, "backwards": base[:, ::-1], "every_second": base[::2, ::3]}
    files.write_arrays(tmp_path / "file", views, {})
    read, _ = files.read_arrays(tmp_path / "file")
    assert all(np.array_equal(read[name], view) for name, view in views.items())


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON_VALUES)
def test_any_json_value_comes_back(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_keys_that_are_numbers_come_back_as_text(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file", {10: "ten", 9: "nine"})
    assert files.read_json(tmp_path / "file") == {"10": "ten", "9": "nine"}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file", {"loss": float("nan")})
    assert not os.listdir(tmp_path)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.text(st.characters(codec="utf-8")),
            st.booleans(),
            st.none() | st.floats(width=32),
        ),
        max_size=6,
    )
)
def test_any_table_comes_back(rows: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "file.parquet"
    types = {
        "seed": "int64",
        "value": "float64",
        "method": "str",
        "is_corrupt": "bool",
        "multiplier": "float32",
    }
    frame = pd.DataFrame(rows, columns=list(types)).astype(types)
    files.write_table(path, frame, {})
    pd.testing.assert_frame_equal(files.read_table(path), frame, check_exact=True)


def test_content_hash_depends_on_the_content_alone(tmp_path: Path) -> None:
    files.write_arrays(tmp_path / "a", ARRAYS, {"made": "once"})
    files.write_arrays(tmp_path / "b", dict(reversed(ARRAYS.items())), {"made": "again"})
    files.write_arrays(tmp_path / "c", {**ARRAYS, "index": ARRAYS["index"] + 1}, {"made": "once"})
    a, b, c = (files.content_hash(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2))
def test_content_key_does_not_depend_on_the_order_of_keys(settings: dict[str, int]) -> None:
    key = files.content_key(settings)
    assert files.content_key(dict(reversed(settings.items()))) == key
    assert files.content_key({**settings, "one more key": 0}) != key


def test_arrays_that_differ_only_in_type_or_shape_have_different_hashes(tmp_path: Path) -> None:
    zeros = [
        np.zeros(4, np.int32),
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.int32),
        np.zeros(2, np.int64),
    ]
    for number, array in enumerate(zeros):
        files.write_arrays(tmp_path / str(number), {"values": array}, {})
    assert len({files.content_hash(path) for path in tmp_path.iterdir()}) == len(zeros)


# -- damage ----------------------------------------------------------------------------------------


def test_truncated_at_any_length_is_named(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "file"
    kind.write(path)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(whole) - 1, max(1, len(whole) // 60))]:
        path.write_bytes(whole[:length])
        with pytest.raises(files.DamagedFile, match=f"{path} is damaged"):
            kind.read(path)


@pytest.mark.parametrize("bits", [0x01, 0xFF])
def test_flipped_byte_anywhere_is_named_or_changes_nothing(kind: Kind, bits: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    kind.write(path)
    whole, expected = path.read_bytes(), kind.read(path)
    named = 0
    for position in range(0, len(whole), max(1, len(whole) // 400)):
        damaged = bytearray(whole)
        damaged[position] ^= bits
        path.write_bytes(damaged)
        try:
            assert kind.read(path) == expected, f"byte {position} changed what was read, silently"
        except files.DamagedFile:
            named += 1
    assert named > 0


@pytest.mark.parametrize("field", ['"scale":0.0625', '"classes":10'])
def test_changed_account_of_what_made_it_is_named(field: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_arrays(path, ARRAYS, ABOUT)
    escaped = field.replace('"', '\\"').encode()
    assert escaped in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(escaped, escaped[:-1] + b"9"))
    with pytest.raises(files.DamagedFile, match="does not match its hash"):
        files.read_about(path)


FOREIGN = {
    "empty": b"",
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "null": b"null",
    "list": b"[1, 2]",
    "nan": b'{"about": {}, "sha256": "x", "check": "x", "content": NaN}',
    "deep": b"[" * 100_000,
    "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "not text": bytes(range(256)),
    "header too long": (2**63 - 1).to_bytes(8, "little") + b"{}",
    "header longer than the file": (1000).to_bytes(8, "little") + b"{}",
    "parquet without content": b"PAR1" + b"\0" * 16 + b"PAR1",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_content_is_named(kind: Kind, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(files.DamagedFile, match=f"{path} is damaged"):
        kind.read(path)


def _safetensors(header: dict[str, Any], content: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


@pytest.mark.parametrize("metadata", [None, {}, {"lapwing": "{}"}, {"lapwing": "null"}, {"lapwing": "[1]"}])
def test_arrays_of_another_program_are_named(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    tensor = {"x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    header = tensor if metadata is None else {"__metadata__": metadata, **tensor}
    path = tmp_path / "file"
    path.write_bytes(_safetensors(header, b"ab"))
    for read in (files.read_arrays, files.read_about, files.content_hash):
        with pytest.raises(files.DamagedFile, match=f"{path} is damaged"):
            read(path)


def test_table_of_another_program_is_named(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "file")
    with pytest.raises(files.DamagedFile):
        files.read_table(tmp_path / "file")


def test_what_a_table_says_of_itself_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "table"
    files.write_table(path, FRAME, ABOUT)
    assert files.read_table_about(path) == ABOUT
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(files.DamagedFile):
        files.read_table_about(path)
    with pytest.raises(files.MissingFile):
        files.read_table_about(tmp_path / "none")


def test_damaged_file_is_told_with_the_command_that_removes_it_and_what_it_links_to(tmp_path: Path) -> None:
    entry, link = tmp_path / "cached", tmp_path / "link"
    entry.write_bytes(b"{")
    link.symlink_to(entry)
    with pytest.raises(UserError) as caught:
        files.read_json(link)
    assert str(caught.value).endswith(f"rm {link} {entry}")


def test_missing_file_is_told_in_one_sentence(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"There is no file {tmp_path}/file."):
        kind.read(tmp_path / "file")


# -- writing that fails ----------------------------------------------------------------------------


def test_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def write_half() -> None:
        with files.written_aside(path) as aside:
            aside.write_text("half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_half()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_what_killed_processes_left_goes_a_day_later(kind: Kind, tmp_path: Path) -> None:
    now = time.time()
    ages = {"part-01234567-[a]": 25, "part-89abcdef-[a]": 23, "part-01234567-b-[a]": 25, "part-[a]": 25}
    for name, hours in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now - hours * 3600,) * 2)
    (tmp_path / "part-fedcba98-[a]").mkdir()
    os.utime(tmp_path / "part-fedcba98-[a]", (0, 0))
    kind.write(tmp_path / "[a]")
    assert {path.name for path in tmp_path.iterdir()} - {"[a]", "part-fedcba98-[a]"} == {*ages} - {
        "part-01234567-[a]"
    }


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from tests.test_files import *\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
    )


def test_disk_that_takes_no_more_is_told_and_leaves_what_was_there(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "file"
    kind.write(path)
    before = path.read_bytes()
    # A limit on the size of files is what a full disk is, for a process that may not mount one.
    result = run_python(
        """
        import resource
        kind = next(kind for kind in KINDS if kind.name == sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        from lapwing.errors import as_one_sentence
        with as_one_sentence():
            kind.write(Path(sys.argv[2]))
        """,
        kind.name,
        str(path),
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith(f"lapwing: {path} cannot be written: ")
    assert len(result.stderr.splitlines()) == 1
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file"]


def test_folder_that_may_not_be_written_is_told(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match="cannot be written: Read-only file system"):
        kind.write(tmp_path / "file")
    assert not os.listdir(tmp_path)


def test_file_in_the_place_of_the_folder_is_told(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(UserError, match="folder/file cannot be written: File exists"):
        kind.write(tmp_path / "folder" / "file")


@pytest.mark.parametrize("moment", ["written", "synced"])
def test_kill_in_the_middle_leaves_no_wrong_file(kind: Kind, moment: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    kind.write(path)
    before = path.read_bytes()
    result = run_python(
        """
        import signal
        kind = next(kind for kind in KINDS if kind.name == sys.argv[1])
        real = files.sync
        def kill(path):
            if sys.argv[3] == "synced":
                real(path)
            os.kill(os.getpid(), signal.SIGKILL)
        files.sync = kill
        kind.write(Path(sys.argv[2]))
        """,
        kind.name,
        str(path),
        moment,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert path.read_bytes() == before
    assert all(name == "file" or name.startswith("part-") for name in os.listdir(tmp_path))
    kind.write(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    kind.write(path)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=rf"file cannot be read: {os.strerror(number)}") as raised:
        kind.read(path)
    assert not isinstance(raised.value, files.DamagedFile)
