"""Members are read from tar, gzipped tar and zip alike; of a hostile or damaged archive nothing is kept."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.datasets.archive import pack, read_members, unpack
from lapwing.datasets.base import Member
from lapwing.errors import UserError
from tests.datasets.conftest import tar_of

CONTENTS = {"tree/b.txt": b"beta" * 500, "tree/a/1.txt": b"", "tree/a/2.txt": bytes(range(256)) * 20}


def zip_of(
    contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED, **attributes: dict[str, Any]
) -> bytes:
    """A zip; `attributes` sets attributes of the description of members: {attribute: {name: value}}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            for attribute, values in attributes.items():
                setattr(info, attribute, values.get(name, getattr(info, attribute)))
            archive.writestr(info, content)
    return buffer.getvalue()


def plain_tar_of(contents: dict[str, Any]) -> bytes:
    return gzip.decompress(tar_of(contents))


MAKERS = {"tar": plain_tar_of, "gzipped tar": tar_of, "zip": zip_of}
each_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
Make = Callable[[dict[str, bytes]], bytes]


def members_of(content: bytes, folder: Path, **limits: int) -> dict[str, bytes]:
    archive = folder / "archive"
    archive.write_bytes(content)
    return dict(read_members(archive, lambda name: name.startswith("tree/"), **limits))


def refusal(content: bytes, folder: Path, **limits: int) -> str:
    with pytest.raises(UserError) as caught:
        members_of(content, folder, **limits)
    sentence = str(caught.value)
    assert sentence.startswith("archive was not unpacked: ")
    assert "\n" not in sentence
    return sentence


@each_kind
def test_members_come_in_the_order_of_the_archive(make: Make, tmp_path: Path) -> None:
    found = members_of(make({"other": b"other", **CONTENTS}), tmp_path)
    assert list(found.items()) == list(CONTENTS.items())


@each_kind
def test_names_begin_without_a_dot(make: Make, tmp_path: Path) -> None:
    assert members_of(make({"./tree//x": b"content"}), tmp_path) == {"tree/x": b"content"}


@each_kind
@pytest.mark.parametrize("name", ["../evil", "tree/../../evil", "/evil"])
def test_name_that_leads_out_is_refused(name: str, make: Make, tmp_path: Path) -> None:
    assert "would be written outside the folder" in refusal(make({**CONTENTS, name: b"evil"}), tmp_path)


@each_kind
def test_member_larger_than_expected_is_refused(make: Make, tmp_path: Path) -> None:
    content = make({"tree/large": bytes(1001), "other": bytes(2000)})
    assert "'tree/large' has 1001 bytes, expected at most 1000" in refusal(content, tmp_path, largest=1000)


@each_kind
def test_archive_larger_than_expected_is_refused(make: Make, tmp_path: Path) -> None:
    content = make({f"other/{number}": bytes(100_000) for number in range(3)})
    assert "it unpacks to more than the 250000 bytes" in refusal(content, tmp_path, total=250_000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@each_kind
def test_name_that_comes_twice_is_refused(make: Make, tmp_path: Path) -> None:
    content = make({"tree/x": b"one", "tree/./x": b"two"})
    assert "its member 'tree/x' comes twice" in refusal(content, tmp_path)


@each_kind
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8])
def test_truncated_archive_is_refused(share: float, make: Make, tmp_path: Path) -> None:
    content = make({f"tree/{number}": bytes([number]) * 5000 for number in range(8)})
    assert "it is no whole archive" in refusal(content[: int(share * len(content))], tmp_path)


def test_tar_that_ends_between_two_members_is_refused(tmp_path: Path) -> None:
    content = plain_tar_of({"tree/1": bytes(512), "tree/2": bytes(512)})
    assert "it is no whole archive" in refusal(content[:1024], tmp_path)


def test_tar_with_a_damaged_header_in_its_middle_is_refused(tmp_path: Path) -> None:
    content = bytearray(plain_tar_of({"tree/1": bytes(512), "tree/2": bytes(512)}))
    content[1030] ^= 1
    assert "a header is damaged" in refusal(bytes(content), tmp_path)


@pytest.mark.parametrize("make", [tar_of, zip_of], ids=["gzipped tar", "zip"])
def test_content_that_does_not_match_its_checksum_is_refused(make: Make, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(20_000)
    content = bytearray(make({"tree/noise": noise}))
    content[10_000] ^= 1
    assert "it is no whole archive" in refusal(bytes(content), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_link_or_device_in_a_tar_is_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("tree/link")
    info.type, info.linkname = kind, "/etc/hostname"
    assert "is a link or a device" in refusal(plain_tar_of({"x": info}), tmp_path)


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = {"tree/link": (stat.S_IFLNK | 0o777) << 16}
    content = zip_of({"tree/link": b"/etc/hostname"}, external_attr=link)
    assert "is a link or a device" in refusal(content, tmp_path)


def test_long_name_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**32
    assert "impossible size" in refusal(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000), tmp_path)


def header_of(kind: bytes, content: bytes) -> bytes:
    """A header, as a tar holds one before what it is about."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    ("kind", "number", "content"),
    [
        (tarfile.XGLTYPE, 100, b"30 comment=".ljust(2**20, b"x")),
        (tarfile.XGLTYPE, 1, b"".join(b"%d %d=\n" % (len(f"{key}") + 5, key) for key in range(10**4, 10**5))),
        (tarfile.XHDTYPE, 100, b"30 comment=".ljust(2**20, b"x")),
        (tarfile.GNUTYPE_LONGNAME, 100, b"tree/NUMBER".ljust(2**20, b"x")),
    ],
    ids=["global", "many keys", "extended", "long names"],
)
def test_headers_that_would_fill_the_memory_together_are_refused(
    kind: bytes, number: int, content: bytes, tmp_path: Path
) -> None:
    members = (
        header_of(kind, content.replace(b"NUMBER", b"%06d" % place))
        + tarfile.TarInfo(f"tree/{place}").tobuf(tarfile.USTAR_FORMAT)
        for place in range(number)
    )
    tar = gzip.compress(b"".join(members) + bytes(1024), 1)
    assert "headers are too large together" in refusal(tar, tmp_path)


def test_honest_headers_of_very_many_members_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "0" * 40}
    ) as tar:
        for number in range(3000):
            info = tarfile.TarInfo(f"tree/{'ä' * 100}/{number}")
            info.pax_headers = {"mtime": "1.5"}
            tar.addfile(info)
    assert len(members_of(buffer.getvalue(), tmp_path)) == 3000


def test_holes_of_a_sparse_file_count(tmp_path: Path) -> None:
    info = tarfile.TarInfo("other/sparse")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": f"{2**40}", "GNU.sparse.map": "0,1"}
    with tarfile.open(tmp_path / "tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    assert "it unpacks to more than" in refusal((tmp_path / "tar").read_bytes(), tmp_path)


def marked_encrypted(content: bytes) -> bytes:
    """A zip whose flags say that its first member is encrypted."""
    changed = bytearray(content)
    changed[content.index(b"PK\3\4") + 6] |= 1
    changed[content.index(b"PK\1\2") + 8] |= 1
    return bytes(changed)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = marked_encrypted(zip_of({"tree/secret": b"secret"}))
    assert "'tree/secret' is encrypted" in refusal(content, tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_whose_decompression_has_no_bound_is_refused(compression: int, tmp_path: Path) -> None:
    assert "is neither stored nor deflated" in refusal(zip_of(CONTENTS, compression), tmp_path)


def test_zip_that_holds_more_than_it_says_gives_no_more(tmp_path: Path) -> None:
    content = zip_of({"tree/bomb": bytes(10**7)})
    said = content.replace((10**7).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert said != content
    assert "it is no whole archive" in refusal(said, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"<!DOCTYPE html>", b"\x1f\x8b"], ids=["empty", "zip", "page", "gzip"]
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "it is no whole archive" in refusal(content, tmp_path)


@each_kind
def test_whatever_bytes_are_changed_is_at_most_told(make: Make, tmp_path: Path) -> None:
    content = make(CONTENTS)
    generator = np.random.default_rng(0)
    sentences = [sentence_about(changed_at_random(content, generator), tmp_path) for _ in range(300)]
    told = [sentence for sentence in sentences if sentence]
    assert told
    assert all(sentence.startswith("archive was not unpacked: ") for sentence in told)


def changed_at_random(content: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in generator.integers(0, len(content), 3):
        changed[place] = generator.integers(256)
    return bytes(changed)


def sentence_about(content: bytes, folder: Path) -> str:
    """What is said of an archive; nothing where it can be read."""
    try:
        members_of(content, folder, total=2**24)
    except UserError as refused:
        return str(refused)
    return ""


# -- zip files are unpacked too, and packed ------------------------------------------------------------


def test_members_of_a_zip_are_written_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zip_of({**CONTENTS, "tree/more": b"more"}))
    unpack(tmp_path / "archive", [Member(name=name, largest=10**4) for name in CONTENTS], tmp_path / "in")
    written = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert written == {tmp_path / "in" / name: content for name, content in CONTENTS.items()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zip_of({"../evil": b"evil", "tree/b.txt": b""}), "outside the folder"),
        (zip_of({"tree/b.txt": bytes(101)}), "has 101 bytes, expected at most 100"),
        (zip_of({"tree/bomb": bytes(2**25), "tree/b.txt": b""}), "it unpacks to more than"),
        (zip_of({"tree/other": b""}), "it lacks tree/b.txt"),
        (marked_encrypted(zip_of({"tree/b.txt": b""})), "is encrypted"),
        (zip_of(CONTENTS)[:-30], "it is no whole archive"),
    ],
    ids=["traversal", "large", "bomb", "missing", "encrypted", "truncated"],
)
def test_of_a_hostile_zip_nothing_is_written(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(UserError, match=told):
        unpack(tmp_path / "archive", [Member(name="tree/b.txt", largest=100)], tmp_path / "in")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "archive"]


NAMES = st.text("abcdeä .-_", min_size=1, max_size=8).filter(lambda name: name.strip(". ") == name)


@settings(max_examples=25, deadline=None)
@given(
    contents=st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=5), reverse=st.booleans()
)
def test_what_is_packed_is_read_again(
    contents: dict[str, bytes], reverse: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    for name, content in sorted(contents.items(), reverse=reverse):
        (folder / "deep" / name).mkdir(parents=True)
        (folder / "deep" / name / "file").write_bytes(content)
    pack(folder / "deep", "tree", folder / "packed")
    expected = {f"tree/{name}/file": content for name, content in sorted(contents.items())}
    assert list(read_members(folder / "packed", lambda name: True)) == sorted(expected.items())


def test_packing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / f"{number}"
        (folder / "sub").mkdir(parents=True)
        for name in ("sub/x", "y")[:: 1 - 2 * number]:
            (folder / name).write_text(name)
            (folder / name).chmod(0o600 + number)
        pack(folder, "tree", tmp_path / "packed")
        made.append((tmp_path / "packed").read_bytes())
    assert made[0] == made[1]


def test_only_what_is_needed_is_packed(tmp_path: Path) -> None:
    for name in ("table.csv", "small/a/1", "large/a/1", "small.txt"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(name)
    pack(tmp_path / "set", "tree", tmp_path / "packed", ("table.csv", "small/*"))
    packed = dict(read_members(tmp_path / "packed", lambda name: True))
    assert packed == {f"tree/{name}": name.encode() for name in ("small/a/1", "table.csv")}
    with pytest.raises(UserError, match="holds no files"):
        pack(tmp_path / "set", "tree", tmp_path / "none", ("other/*",))


def test_folder_without_files_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no files"):
        pack(tmp_path / "empty", "tree", tmp_path / "packed")
