"""F01 to F12: what servers, mirrors and archives do to raw data."""

import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lapwing.datasets import cifar_10, fashion_mnist
from lapwing.datasets.base import Dataset, Member, RemoteFile
from lapwing.datasets.download import download_files
from lapwing.datasets.raw import verify, write_manifest
from lapwing.study import merged
from tests.datasets import test_download
from tests.datasets.conftest import (
    IMPATIENT,
    Handler,
    Server,
    broken_off,
    dataset_of,
    hanging,
    redirect,
    sha256,
    status,
    tar_of,
    whole,
)
from tests.datasets.test_archive_members import plain_tar_of, zip_of
from tests.datasets.test_download import CONTENT, FLIPPED, PAGE, file_of
from tests.faults.outcomes import files_in, is_clear, refusal
from tests.workflow.conftest import STUDY, Project
from tests.workflow.test_damage import truncate

# -- servers -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "small"


def fetched(folder: Path, *urls: str) -> bytes:
    """What is fetched from these addresses, after it was found to be what was published."""
    dataset = dataset_of(file_of(CONTENT, *urls))
    download_files("small", dataset, folder, patience=IMPATIENT)
    verify(dataset, folder)
    return (folder / "data.bin").read_bytes()


def refused(folder: Path, dataset: Dataset, mirrors: list[Path] | None = None) -> str:
    """The sentence with which a download is refused; no raw folder is left, nor anything outside it."""
    sentence = refusal(download_files, "small", dataset, folder, mirrors or [], patience=IMPATIENT)
    assert not folder.exists()
    return sentence


@pytest.mark.fault("F01", "the connection ends in the middle of a file, once", "recovered")
def test_truncated_body(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000), whole(CONTENT))
    assert fetched(folder, url) == CONTENT
    assert server.asked[-1] == ("/data.bin", "bytes=120000-")


@pytest.mark.fault("F01", "the connection ends in the middle of a file, every time", "refused")
def test_body_that_is_always_truncated(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000))
    sentence = refused(folder, dataset_of(file_of(CONTENT, url)))
    assert f"data.bin could not be fetched ({url}: the connection ended after 120000 bytes)" in sentence


@pytest.mark.fault("F02", "an address answers 404, 500 or a web page, and another has the file", "recovered")
@pytest.mark.parametrize("answer", [status(404), status(500), whole(PAGE)], ids=["404", "500", "page"])
def test_page_in_place_of_the_file(server: Server, folder: Path, answer: Callable[[Handler], None]) -> None:
    bad, good = server.says("/bad", answer), server.says("/good", whole(CONTENT))
    assert fetched(folder, bad, good) == CONTENT


@pytest.mark.fault("F02", "the only address answers 404, 500 or a web page", "refused")
@pytest.mark.parametrize(
    ("answer", "told"),
    [(status(404), "HTTP 404"), (status(500), "HTTP 500"), (whole(PAGE), "it is a web page")],
    ids=["404", "500", "page"],
)
def test_page_and_nothing_else(
    server: Server, folder: Path, answer: Callable[[Handler], None], told: str
) -> None:
    url = server.says("/data.bin", answer)
    sentence = refused(folder, dataset_of(file_of(CONTENT, url)))
    assert told in sentence
    assert url in sentence


@pytest.mark.fault("F03", "a mirror's file has a flipped byte and the right size", "refused")
def test_flipped_byte(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "mirror" / "small-set" / "data.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(FLIPPED)
    known = file_of(CONTENT, md5=None, sha256=sha256(CONTENT))
    sentence = refused(folder, dataset_of(known), [tmp_path / "mirror"])
    assert f"{place} has SHA-256 {sha256(FLIPPED)}" in sentence


@pytest.mark.fault("F05", "a server hangs before the first byte, or in the middle", "refused")
@pytest.mark.parametrize("after", [0, 50_000])
def test_server_that_hangs(server: Server, folder: Path, after: int) -> None:
    url = server.says("/data.bin", hanging(CONTENT, after))
    assert f"{url}: timed out" in refused(folder, dataset_of(file_of(CONTENT, url)))


@pytest.mark.fault("F05", "a server hangs in the middle of a file, once", "recovered")
def test_server_that_hangs_once(server: Server, folder: Path) -> None:
    assert fetched(folder, server.says("/data.bin", hanging(CONTENT, 50_000), whole(CONTENT))) == CONTENT


@pytest.mark.fault("F06", "an address leads to another host that has the file", "recovered")
def test_redirect_to_another_host(server: Server, folder: Path) -> None:
    server.says("/copy", whole(CONTENT))
    assert fetched(folder, server.says("/x", redirect(server.url("/copy", host="localhost")))) == CONTENT


@pytest.mark.fault("F06", "an address leads to another host's other file, or into this machine", "refused")
@pytest.mark.parametrize("target", ["/other", "file:///etc/hostname"])
def test_redirect_to_something_else(server: Server, folder: Path, target: str) -> None:
    server.says("/other", whole(FLIPPED))
    address = server.url(target, host="localhost") if target.startswith("/") else target
    url = server.says("/data.bin", redirect(address))
    assert url in refused(folder, dataset_of(file_of(CONTENT, url)))


@pytest.mark.fault("F12", "two processes fetch the same dataset at once", "recovered")
def test_two_processes_fetch_the_same_file(server: Server, folder: Path) -> None:
    test_download.test_two_processes_fetch_a_dataset_once(server, folder)


# -- archives ----------------------------------------------------------------------------------------

WANTED = Member(name="small/data", largest=1000)
INNER = {"small/data": b"data" * 100}


def refused_archive(content: bytes, folder: Path, tmp_path: Path) -> str:
    """The sentence about an archive whose own digest is the published one; nothing is written anywhere."""
    place = tmp_path / "mirror" / "small-set" / "small.archive"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    before = files_in(tmp_path)
    file = RemoteFile(name=place.name, urls=(), size=len(content), sha256=sha256(content), members=(WANTED,))
    sentence = refused(folder, dataset_of(file), [tmp_path / "mirror"])
    left = files_in(tmp_path) - before - {"raw/lock-small"}
    assert left <= {"raw/part-small/whole/small/data"}, left  # where work in progress lies
    return sentence


@pytest.mark.fault("F07", "a tar holds a member ../evil", "refused")
@pytest.mark.parametrize("name", ["../evil", "small/../../evil", "../../../../evil"])
def test_tar_that_leads_out(folder: Path, tmp_path: Path, name: str) -> None:
    sentence = refused_archive(tar_of({**INNER, name: b"evil"}), folder, tmp_path)
    assert f"its member {name!r} would be written outside the folder" in sentence


@pytest.mark.fault("F08", "a tar holds an absolute path, or a link that leads out", "refused")
@pytest.mark.parametrize("kind", ["absolute", "symbolic", "hard"])
def test_tar_with_absolute_path_or_link(folder: Path, tmp_path: Path, kind: str) -> None:
    link = tarfile.TarInfo("small/data")
    link.type = tarfile.LNKTYPE if kind == "hard" else tarfile.SYMTYPE
    link.linkname = str(tmp_path)
    evil = str(tmp_path / "evil")
    members = {evil: b"evil", **INNER} if kind == "absolute" else {"x": link, **INNER}
    sentence = refused_archive(plain_tar_of(members), folder, tmp_path)
    assert (evil if kind == "absolute" else "'small/data' is a link") in sentence


@pytest.mark.fault("F09", "a zip holds a name with ..", "refused")
@pytest.mark.parametrize("name", ["../evil", "small/../../evil", "/evil"])
def test_zip_that_leads_out(folder: Path, tmp_path: Path, name: str) -> None:
    sentence = refused_archive(zip_of({**INNER, name: b"evil"}), folder, tmp_path)
    assert f"its member {name!r} would be written outside the folder" in sentence


BOMB = bytes(2**27)


@pytest.mark.fault("F10", "an archive of kilobytes unpacks to very much more than is expected", "refused")
@pytest.mark.parametrize("make", [tar_of, zip_of], ids=["tar", "zip"])
@pytest.mark.parametrize("name", ["small/data", "small/other"])
def test_bomb(folder: Path, tmp_path: Path, make: Callable[[Any], bytes], name: str) -> None:
    sentence = refused_archive(make({name: BOMB}), folder, tmp_path)
    assert "expected at most 1000" in sentence or "it unpacks to more than" in sentence


@pytest.mark.fault("F11", "an archive with the right digest lacks a batch, or holds another", "refused")
@pytest.mark.parametrize("what", ["lacks", "has"])
def test_right_archive_with_wrong_members(folder: Path, tmp_path: Path, what: str) -> None:
    """CIFAR-10 as it is declared, but for the digest of the whole."""
    [official] = cifar_10.DATASET.files
    batches = {member.name: b"no batch" for member in official.members}
    last = sorted(batches)[-1]
    if what == "lacks":
        batches.pop(last)
    content = tar_of(batches)
    place = tmp_path / "mirror" / cifar_10.DATASET.mirror_folder / official.name
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    known = replace(official, size=len(content), md5=None, sha256=sha256(content))
    sentence = refused(folder, replace(cifar_10.DATASET, files=(known,)), [tmp_path / "mirror"])
    assert (f"it lacks {last}" if what == "lacks" else "has MD5") in sentence
    assert official.name in sentence


# -- at the start of the workflow ----------------------------------------------------------------------


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F04", "a results file is truncated when the workflow starts", "refused")
def test_truncated_results_at_the_start(made: Project) -> None:
    for path in made.folder.glob("outputs/paper/tables/*"):
        path.unlink()
    (made.folder / "outputs" / "paper" / "report.html").unlink()
    results = made.folder / "outputs" / "paper" / "results" / "tiny.parquet"
    before = results.read_bytes()
    truncate(results)
    text = made.run(ok=False)
    is_clear(text, "outputs/paper/results/tiny.parquet is damaged", "rm outputs/paper/results/tiny.parquet")
    assert not list(made.folder.glob("outputs/paper/tables/*"))
    results.unlink()
    made.run()
    assert results.read_bytes() == before


@pytest.mark.workflow
@pytest.mark.fault("F04", "a raw file is truncated when the workflow starts", "refused")
def test_truncated_raw_file_at_the_start(project: Project) -> None:
    raw = project.folder / "resources" / "raw" / "fashion_mnist"
    official = fashion_mnist.DATASET.files
    known = {file.name: {"sha256": "0" * 64, "size": file.size, "from": file.urls[0]} for file in official}
    write_manifest(raw, known, "fashion_mnist")
    for file in official:
        (raw / file.name).write_bytes(bytes(1000))
    project.write_study(merged(STUDY, {"grid": {"dataset": ["fashion_mnist"]}}))
    text = project.run("tiny", ok=False)
    truncated = f"resources/raw/fashion_mnist/{official[0].name}"
    is_clear(text, f"{truncated} is damaged", "1000 bytes", f"{official[0].size} bytes", "rm -r")
    assert not (project.folder / "outputs" / "paper" / "data").exists()


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F02", "a mirror holds a web page under the name of a file", "refused")
def test_page_in_a_mirror(project: Project, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "fashion-mnist").mkdir(parents=True)
    for split in ("train", "t10k"):
        for name in ("images-idx3", "labels-idx1"):
            (mirror / "fashion-mnist" / f"{split}-{name}-ubyte.gz").write_bytes(PAGE)
    config = {"scale": "paper", "data": {"offline": True, "mirror": str(mirror)}}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.write_study(merged(STUDY, {"grid": {"dataset": ["fashion_mnist"]}}))
    text = project.run("tiny", ok=False)
    is_clear(text, str(mirror / "fashion-mnist"), "it is a web page")
    assert not (project.folder / "resources" / "raw" / "fashion_mnist").exists()
