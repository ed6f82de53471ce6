"""Of an archive the expected members are written, under their declared names, and nothing else ever."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from lapwing.datasets.archive import SLACK, unpack
from lapwing.datasets.base import Member
from lapwing.errors import UserError
from tests.datasets.conftest import tar_of

MEMBER = Member(name="small/data", largest=1000)
CONTENT = b"content" * 100


def unpack_bytes(content: bytes, folder: Path) -> None:
    archive = folder / "small.tar.gz"
    archive.write_bytes(content)
    unpack(archive, [MEMBER], folder / "in" / "side")


def refusal(content: bytes, folder: Path) -> str:
    """The sentence with which an archive is refused; nothing was written outside the folder."""
    with pytest.raises(UserError) as caught:
        unpack_bytes(content, folder)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    assert written <= {"small.tar.gz", "in/side/small/data"}
    assert str(caught.value).startswith("small.tar.gz was not unpacked: ")
    return str(caught.value)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_only_expected_members_are_written(tmp_path: Path) -> None:
    folder = special("small", tarfile.DIRTYPE)
    unpack_bytes(tar_of({"small": folder, "small/data": CONTENT, "small/more": b"more"}), tmp_path)
    written = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert written == [tmp_path / "in" / "side" / "small" / "data"]
    assert written[0].read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../evil", "small/../../evil", "/evil", "../../../../../../evil"])
def test_member_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    sentence = refusal(tar_of({"small/data": CONTENT, name: b"evil"}), tmp_path)
    assert f"its member {name!r} would be written outside the folder" in sentence


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["small/data", "small/other"])
def test_link_or_device_is_refused(kind: bytes, name: str, tmp_path: Path) -> None:
    content = tar_of({"x": special(name, kind, "/etc/hostname"), "small/data": CONTENT})
    assert "is a link or a device" in refusal(content, tmp_path)


def test_write_through_a_linked_folder_is_refused(tmp_path: Path) -> None:
    link = special("small", tarfile.SYMTYPE, str(tmp_path))
    refusal(tar_of({"small": link, "small/data": CONTENT}), tmp_path)
    assert not (tmp_path / "data").exists()


def test_member_larger_than_declared_is_refused(tmp_path: Path) -> None:
    assert "has 1001 bytes, expected at most 1000" in refusal(tar_of({"small/data": bytes(1001)}), tmp_path)


def test_bomb_in_an_unexpected_member_is_refused(tmp_path: Path) -> None:
    content = tar_of({"small/bomb": bytes(SLACK + 10_000), "small/data": CONTENT})
    assert len(content) < SLACK / 100
    assert f"it unpacks to more than the {SLACK + 1000} bytes expected" in refusal(content, tmp_path)


def test_bomb_in_a_long_name_is_refused(tmp_path: Path) -> None:
    info = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 2**33  # tarfile reads a long name into memory whole
    stream = io.BytesIO()
    with gzip.open(stream, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            file.write(bytes(2**20))
    assert "a header says an impossible size" in refusal(stream.getvalue(), tmp_path)


def test_archive_without_the_expected_member_is_refused(tmp_path: Path) -> None:
    assert "it lacks small/data" in refusal(tar_of({"small/other": CONTENT}), tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html>",
        gzip.compress(b"no tar " * 1000),
        tar_of({"small/data": CONTENT})[:-20],
        tar_of({"small/data": CONTENT})[:60],
        tar_of({"small/data": CONTENT})[:80] + b"????" + tar_of({"small/data": CONTENT})[84:],
    ],
    ids=["empty", "web page", "no tar", "truncated at its end", "truncated", "damaged"],
)
def test_what_is_no_whole_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    refusal(content, tmp_path)
