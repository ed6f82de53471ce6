"""A raw folder is complete and right, or it is not there and one sentence says why."""

import multiprocessing
import os
import re
import shutil
import signal
import time
from collections import namedtuple
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from lapwing.datasets import fashion_mnist, remote
from lapwing.datasets.archive import read_members
from lapwing.datasets.base import Dataset, Member, RemoteFile, Terms
from lapwing.datasets.download import check_available, download, download_files, marks_of_part, missing_step
from lapwing.datasets.mirror import mark_of
from lapwing.datasets.raw import MANIFEST, read_manifest, verify
from lapwing.errors import UserError
from lapwing.files import read_json, write_json
from tests.datasets.conftest import (
    IMPATIENT,
    Handler,
    Server,
    broken_off,
    dataset_of,
    endless,
    hanging,
    md5,
    redirect,
    sha256,
    status,
    tar_of,
    whole,
)

CONTENT = np.random.default_rng(0).bytes(300_000)
FLIPPED = CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]
FLIPPED_LATE = CONTENT[:-9] + bytes([CONTENT[-9] ^ 1]) + CONTENT[-8:]
PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "small"


def file_of(content: bytes, *urls: str, name: str = "data.bin", **more: Any) -> RemoteFile:
    return RemoteFile(name=name, urls=urls, **{"size": len(content), "md5": md5(content), **more})


def fetch(dataset: Dataset, folder: Path, mirrors: list[Path] | None = None, **more: Any) -> None:
    download_files("small", dataset, folder, mirrors or [], patience=IMPATIENT, **more)


def refusal(dataset: Dataset, folder: Path, mirrors: list[Path] | None = None, **more: Any) -> str:
    """The sentence that a download ends with; it is one, and there is no raw folder."""
    with pytest.raises(UserError) as caught:
        fetch(dataset, folder, mirrors, **more)
    assert "\n" not in str(caught.value)
    assert not folder.exists()
    return str(caught.value)


# -- over the network ------------------------------------------------------------------------------


def test_fetched_file_is_verified_and_recorded(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT
    entry = {"sha256": sha256(CONTENT), "size": len(CONTENT), "from": url}
    assert read_json(folder / "manifest.json") == {"data.bin": entry}
    assert sorted(os.listdir(folder.parent)) == ["lock-small", "small"]


def test_truncated_body_is_gone_on_with(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000), whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert server.asked == [("/data.bin", None), ("/data.bin", "bytes=120000-")]


def test_truncated_body_is_fetched_anew_from_a_server_that_cannot_go_on(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000), whole(CONTENT, resumable=False))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_rest_that_does_not_fit_is_thrown_away_with_the_beginning(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000), whole(FLIPPED_LATE), whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert [asked for _, asked in server.asked] == [None, "bytes=120000-", None]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_server_that_never_gives_the_right_rest_is_given_up(server: Server, folder: Path) -> None:
    def answer(handler: Handler) -> None:
        (whole(FLIPPED_LATE) if handler.headers.get("Range") else broken_off(CONTENT, 120_000))(handler)

    url = server.says("/data.bin", answer)
    assert "data.bin could not be fetched" in refusal(dataset_of(file_of(CONTENT, url)), folder)
    assert len(server.asked) == IMPATIENT.attempts


def test_body_that_is_always_truncated_is_told(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000))
    sentence = refusal(dataset_of(file_of(CONTENT, url)), folder)
    assert sentence.startswith(
        f"data.bin could not be fetched ({url}: the connection ended after 120000 bytes)"
    )
    assert "data.mirror" in sentence


def test_next_download_goes_on_where_the_last_one_stopped(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", broken_off(CONTENT, 120_000), status(404))
    dataset = dataset_of(file_of(CONTENT, url))
    refusal(dataset, folder)
    server.says("/data.bin", whole(CONTENT))
    fetch(dataset, folder)
    assert server.asked[-1] == ("/data.bin", "bytes=120000-")
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left", [FLIPPED, FLIPPED[:2000], CONTENT + b"more"], ids=["flipped", "part", "longer"]
)
def test_wrong_remains_of_an_earlier_download_are_thrown_away(
    server: Server, folder: Path, left: bytes
) -> None:
    part = folder.with_name("part-small")
    part.mkdir(parents=True)
    (part / "data.bin.partial").write_bytes(left)
    fetch(dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT)))), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("known", [{}, {"size": None}], ids=["size known", "size unknown"])
def test_remains_that_are_whole_are_not_fetched_again(
    server: Server, folder: Path, known: dict[str, None]
) -> None:
    part = folder.with_name("part-small")
    part.mkdir(parents=True)
    (part / "data.bin.partial").write_bytes(CONTENT)
    url = server.says("/data.bin", whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, url, **known)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert all(asked == f"bytes={len(CONTENT)}-" for _, asked in server.asked)


def test_address_that_is_gone_gives_way_to_the_next(server: Server, folder: Path) -> None:
    gone, copy = server.says("/gone", status(404)), server.says("/copy", whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, gone, copy)), folder)
    assert read_manifest(folder)["data.bin"]["from"] == copy
    assert [path for path, _ in server.asked] == ["/gone", "/copy"]


def test_each_address_is_told_with_what_it_answers(server: Server, folder: Path) -> None:
    gone, broken = server.says("/gone", status(404)), server.says("/broken", status(500))
    sentence = refusal(dataset_of(file_of(CONTENT, gone, broken)), folder)
    assert f"({gone}: HTTP 404 Not Found; {broken}: HTTP 500 Internal Server Error)" in sentence
    assert [path for path, _ in server.asked] == ["/gone"] + ["/broken"] * IMPATIENT.attempts


def test_server_that_fails_for_a_while_is_asked_again(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", status(503), status(429), whole(CONTENT))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_web_page_in_place_of_the_file_is_told_as_a_wrong_digest(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", whole(PAGE))
    sentence = refusal(dataset_of(file_of(CONTENT, url)), folder)
    assert (
        f"MD5 {md5(PAGE)} and {len(PAGE)} bytes (it is a web page), expected MD5 {md5(CONTENT)}" in sentence
    )
    assert len(server.asked) == 1


def test_flipped_byte_is_told_with_both_digests(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", whole(FLIPPED))
    file = file_of(CONTENT, url, md5=None, sha256=sha256(CONTENT))
    sentence = refusal(dataset_of(file), folder)
    assert f"has SHA-256 {sha256(FLIPPED)}" in sentence
    assert f"expected SHA-256 {sha256(CONTENT)}" in sentence


@pytest.mark.parametrize("after", [0, 50_000])
def test_hanging_server_is_an_error_and_what_it_gave_is_kept(
    server: Server, folder: Path, after: int
) -> None:
    url = server.says("/data.bin", hanging(CONTENT, after))
    sentence = refusal(dataset_of(file_of(CONTENT, url)), folder)
    assert "timed out" in sentence
    left = folder.with_name("part-small") / "data.bin.partial"
    assert (left.stat().st_size if left.exists() else 0) == after


def test_server_that_is_not_there_is_told(folder: Path, server: Server) -> None:
    nobody = server.url("/").replace(str(server.server_port), "9")  # the port that discards, unused
    assert "Connection refused" in refusal(dataset_of(file_of(CONTENT, nobody)), folder)


def test_endless_body_is_cut_at_the_expected_size(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", endless)
    assert f"longer than the {len(CONTENT)} bytes expected" in refusal(
        dataset_of(file_of(CONTENT, url)), folder
    )
    partial = folder.with_name("part-small") / "data.bin.partial"
    assert partial.stat().st_size <= len(CONTENT)


def test_redirect_to_another_host_is_followed(server: Server, folder: Path) -> None:
    server.says("/copy", whole(CONTENT))
    url = server.says("/data.bin", redirect(server.url("/copy", host="localhost")))
    fetch(dataset_of(file_of(CONTENT, url)), folder)
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/data.bin", "data:text/plain,x"])
def test_redirect_to_what_is_no_web_address_is_refused(server: Server, folder: Path, address: str) -> None:
    url = server.says("/data.bin", redirect(address))
    sentence = refusal(dataset_of(file_of(CONTENT, url)), folder)
    assert re.search(r"no web address|is not allowed", sentence), sentence
    assert address in sentence


def test_redirects_in_a_circle_end(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", redirect(server.url("/data.bin")))
    assert "HTTP 302" in refusal(dataset_of(file_of(CONTENT, url)), folder)


def test_file_without_a_published_digest_must_stay_what_it_was_first(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", whole(CONTENT))
    dataset = dataset_of(RemoteFile(name="data.bin", urls=(url,)))
    fetch(dataset, folder)
    (folder / "data.bin").write_bytes(b"damaged")
    server.says("/data.bin", whole(FLIPPED))
    with pytest.raises(
        UserError, match=f"has SHA-256 {sha256(FLIPPED)}.* expected SHA-256 {sha256(CONTENT)}"
    ):
        fetch(dataset, folder)
    server.says("/data.bin", whole(CONTENT))
    fetch(dataset, folder)
    verify(dataset, folder)


# -- mirrors ---------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror that holds data.bin of the small dataset."""
    path = tmp_path / "mirror" / "small-set"
    path.mkdir(parents=True)
    (path / "data.bin").write_bytes(CONTENT)
    return path.parent


def test_mirror_is_tried_before_the_network(server: Server, folder: Path, mirror: Path) -> None:
    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT))))
    fetch(dataset, folder, [mirror])
    assert not server.asked
    assert read_manifest(folder)["data.bin"]["from"] == str(mirror / "small-set" / "data.bin")


def test_mirrors_are_tried_in_their_order_and_the_network_last(
    server: Server, folder: Path, mirror: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    url = server.says("/other.bin", whole(b"other"))
    dataset = dataset_of(file_of(CONTENT), file_of(b"other", url, name="other.bin"))
    fetch(dataset, folder, [empty, mirror])
    origins = [entry["from"] for entry in read_manifest(folder).values()]
    assert origins == [str(mirror / "small-set" / "data.bin"), url]


def test_wrong_file_in_a_mirror_is_told_with_both_digests(folder: Path, mirror: Path) -> None:
    wrong = mirror / "small-set" / "data.bin"
    wrong.write_bytes(FLIPPED)
    sentence = refusal(dataset_of(file_of(CONTENT)), folder, [mirror])
    assert sentence.startswith(f"small: {wrong} has MD5 {md5(FLIPPED)}")
    assert f"expected MD5 {md5(CONTENT)}" in sentence


def test_offline_without_the_file_names_it_and_the_keys(folder: Path, mirror: Path) -> None:
    dataset = dataset_of(file_of(CONTENT), file_of(b"x", name="other.bin"))
    sentence = refusal(dataset, folder, [mirror], offline=True)
    assert "other.bin" in sentence
    assert "data.bin" not in sentence
    assert "data.mirror" in sentence
    assert "data.offline: false" in sentence
    assert missing_step("small", dataset, [mirror], True, ()) == sentence


def test_offline_without_a_mirror_names_the_folder_that_a_mirror_needs(folder: Path) -> None:
    sentence = refusal(dataset_of(file_of(CONTENT)), folder, offline=True)
    assert "no data.mirror is set" in sentence
    assert "small-set/ with data.bin" in sentence


def test_offline_with_a_mirror_asks_no_server(server: Server, folder: Path, mirror: Path) -> None:
    fetch(
        dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT)))), folder, [mirror], offline=True
    )
    assert not server.asked


def test_mirror_that_is_no_folder_is_told(folder: Path, tmp_path: Path) -> None:
    typo = tmp_path / "miror"
    assert f"data.mirror in config.yaml names {typo}" in refusal(dataset_of(file_of(CONTENT)), folder, [typo])


# -- archives --------------------------------------------------------------------------------------

INNER = {"small/train": b"train" * 100, "small/test": b"test" * 100}
ARCHIVE = tar_of({"small/readme.html": b"read me", **INNER})


def archive_of(content: bytes, *urls: str, **more: Any) -> RemoteFile:
    members = tuple(Member(name=name, md5=md5(inner), largest=1000) for name, inner in INNER.items())
    return file_of(content, *urls, name="small.tar.gz", **{"members": members, **more})


def assert_unpacked(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"manifest.json", *INNER}
    assert all((folder / name).read_bytes() == content for name, content in INNER.items())


def test_fetched_archive_is_unpacked_to_its_members_alone(server: Server, folder: Path) -> None:
    url = server.says("/small.tar.gz", whole(ARCHIVE))
    fetch(dataset_of(archive_of(ARCHIVE, url)), folder)
    assert_unpacked(folder)
    assert {entry["from"] for entry in read_manifest(folder).values()} == {url}
    assert sorted(os.listdir(folder.parent)) == ["lock-small", "small"]


@pytest.mark.parametrize("where", ["small-set", "."], ids=["in the mirror folder", "in the mirror itself"])
def test_mirror_may_hold_the_members_of_an_archive(folder: Path, tmp_path: Path, where: str) -> None:
    mirror = tmp_path / "mirror"
    for name, content in INNER.items():
        (mirror / where / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror / where / name).write_bytes(content)
    fetch(dataset_of(archive_of(ARCHIVE)), folder, [mirror], offline=True)
    assert_unpacked(folder)


def test_mirror_may_hold_the_archive(folder: Path, mirror: Path) -> None:
    (mirror / "small-set" / "small.tar.gz").write_bytes(ARCHIVE)
    fetch(dataset_of(archive_of(ARCHIVE)), folder, [mirror], offline=True)
    assert_unpacked(folder)


def test_some_members_in_a_mirror_are_not_enough(folder: Path, mirror: Path) -> None:
    (mirror / "small").mkdir()
    (mirror / "small" / "train").write_bytes(INNER["small/train"])
    sentence = refusal(dataset_of(archive_of(ARCHIVE)), folder, [mirror], offline=True)
    assert "small.tar.gz or its members" in sentence


def test_right_archive_without_an_expected_member_is_told(server: Server, folder: Path) -> None:
    short = tar_of({"small/train": INNER["small/train"]})
    url = server.says("/small.tar.gz", whole(short))
    assert "it lacks small/test" in refusal(dataset_of(archive_of(short, url)), folder)


def test_right_archive_with_a_wrong_member_is_told(server: Server, folder: Path) -> None:
    wrong = tar_of({**INNER, "small/test": b"else"})
    url = server.says("/small.tar.gz", whole(wrong))
    sentence = refusal(dataset_of(archive_of(wrong, url)), folder)
    assert f"small/test of {url} has MD5 {md5(b'else')}" in sentence


@pytest.fixture
def with_copy() -> Dataset:
    """As California Housing: the archive has a digest, its member has not, a copy of that has."""
    member = Member(name="small/data", largest=1000, copy_sha256=sha256(b"the known copy"))
    content = tar_of({"small/data": b"the official bytes"})
    return dataset_of(file_of(content, name="small.tgz", md5=None, sha256=sha256(content), members=(member,)))


def test_digest_of_a_copy_is_accepted_beside_that_of_the_archive(
    with_copy: Dataset, tmp_path: Path, mirror: Path
) -> None:
    (mirror / "small-set" / "small").mkdir()
    (mirror / "small-set" / "small" / "data").write_bytes(b"the known copy")
    raw = tmp_path / "raw" / "copy"
    fetch(with_copy, raw, [mirror], offline=True)
    assert (raw / "small" / "data").read_bytes() == b"the known copy"

    (raw / "manifest.json").unlink()
    (raw / "small" / "data").unlink()
    (mirror / "small-set" / "small.tgz").write_bytes(tar_of({"small/data": b"the official bytes"}))
    fetch(with_copy, raw, [mirror], offline=True)
    assert (raw / "small" / "data").read_bytes() == b"the official bytes"


def test_other_bytes_than_those_of_the_known_copy_are_refused(
    with_copy: Dataset, folder: Path, mirror: Path
) -> None:
    (mirror / "small").mkdir()
    (mirror / "small" / "data").write_bytes(b"the official bytes")
    sentence = refusal(with_copy, folder, [mirror], offline=True)
    assert f"expected SHA-256 {sha256(b'the known copy')}" in sentence


# -- terms, room, and what is there already --------------------------------------------------------


def test_terms_must_be_accepted_first(server: Server, folder: Path) -> None:
    terms = Terms(key="small_terms", address="https://example.org/terms")
    dataset = dataset_of(
        file_of(CONTENT, server.says("/data.bin", whole(CONTENT))), terms=terms, licence="NC"
    )
    sentence = refusal(dataset, folder)
    assert "terms of Small (NC)" in sentence
    assert sentence.endswith("add small_terms to data.accept in config.yaml.")
    assert missing_step("small", dataset, [], False, ()) == sentence
    assert not server.asked
    fetch(dataset, folder, accepted=["small_terms"])
    assert (folder / "data.bin").exists()


def test_too_little_room_is_told_before_anything_is_fetched(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 500_000, 500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    url = server.says("/small.tar.gz", whole(ARCHIVE))
    sentence = refusal(dataset_of(archive_of(ARCHIVE, url, size=10**6)), folder)
    assert f"small needs 1.0 MB in {folder.parent}, where 0.5 MB are free" in sentence
    assert not server.asked


def test_disk_that_fills_up_is_told_as_such(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote.os, "fsync", full)
    sentence = refusal(dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT)))), folder)
    assert "No space left on device" in sentence
    assert len(server.asked) == 1


def test_complete_folder_is_left_alone(server: Server, folder: Path) -> None:
    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT))))
    fetch(dataset, folder)
    before = (folder / "data.bin").stat()
    fetch(dataset, folder, offline=True)
    assert (folder / "data.bin").stat() == before
    assert len(server.asked) == 1


def test_only_what_is_damaged_is_fetched_again(server: Server, folder: Path) -> None:
    urls = [server.says(f"/{name}", whole(name.encode())) for name in "ab"]
    dataset = dataset_of(*(file_of(url[-1].encode(), url, name=url[-1]) for url in urls))
    fetch(dataset, folder)
    (folder / "b").write_bytes(b"x")
    (folder / "stray").write_bytes(b"of another time")
    fetch(dataset, folder)
    assert [path for path, _ in server.asked] == ["/a", "/b", "/b"]
    assert {path.name for path in folder.iterdir()} == {"a", "b", "manifest.json"}
    assert [entry["from"] for entry in verify(dataset, folder).values()] == urls


def test_folder_fetched_under_another_digest_is_fetched_again(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", whole(FLIPPED), whole(CONTENT))
    fetch(dataset_of(file_of(FLIPPED, url)), folder)
    corrected = dataset_of(file_of(CONTENT, url))
    with pytest.raises(UserError, match=f"expected MD5 {md5(CONTENT)}"):
        verify(corrected, folder)
    fetch(corrected, folder)
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_folder_that_lost_its_manifest_needs_no_network(server: Server, folder: Path) -> None:
    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT))))
    fetch(dataset, folder)
    (folder / "manifest.json").unlink()  # as Snakemake does with an output before it runs a job again
    assert missing_step("small", dataset, [], True, (), folder) is None
    fetch(dataset, folder, offline=True)
    verify(dataset, folder)


def test_damaged_folder_stays_as_it_was_when_nothing_better_comes(server: Server, folder: Path) -> None:
    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT))))
    fetch(dataset, folder)
    (folder / "data.bin").write_bytes(FLIPPED)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="data.offline"):
        fetch(dataset, folder, offline=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("key", ["digits", "diabetes"])
def test_embedded_dataset_needs_nothing_but_gets_a_manifest(key: str, folder: Path) -> None:
    assert check_available(key, [], True, []) is None
    download(key, folder, [], True, [])
    assert read_json(folder / "manifest.json") == {}


# -- a dataset that uses another -------------------------------------------------------------------


def using(**more: Any) -> Dataset:
    return dataset_of(uses=("fashion_mnist",), mirror_folder="", **more)


def test_files_of_a_used_dataset_are_missed_under_its_name(folder: Path) -> None:
    sentence = missing_step("small", using(), [], True, [], folder)
    assert sentence
    assert sentence.startswith("fashion_mnist: data.offline is true and no data.mirror is set")
    assert missing_step("small", using(), [], False, [], folder) is None


def test_files_of_a_used_dataset_may_lie_in_its_raw_folder_or_in_a_mirror(folder: Path) -> None:
    names = [file.name for file in fashion_mnist.DATASET.files]
    for place in (folder.with_name("fashion_mnist"), folder.parent.parent / "mirror" / "fashion-mnist"):
        place.mkdir(parents=True)
        for name in names:
            (place / name).touch()
    assert missing_step("small", using(), [], True, [], folder) is None
    assert missing_step("small", using(), [folder.parent.parent / "mirror"], True, []) is None


def test_terms_of_a_used_dataset_must_be_accepted_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms("zalando", "https://terms.example")
    monkeypatch.setattr(fashion_mnist, "DATASET", replace(fashion_mnist.DATASET, terms=terms))
    sentence = missing_step("small", using(), [], False, [], folder)
    assert sentence
    assert sentence.startswith("fashion_mnist: the terms of Fashion-MNIST")
    assert missing_step("small", using(), [], False, ["zalando"], folder) is None


def test_own_terms_come_first(folder: Path) -> None:
    dataset = using(terms=Terms("own", "https://terms.example"))
    assert "add own to data.accept" in (missing_step("small", dataset, [], True, [], folder) or "")


def test_misspelt_dataset_is_told_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match="unknown dataset fashion_mnits; did you mean fashion_mnist?"):
        check_available("fashion_mnits", [], False, [])
    with pytest.raises(UserError, match="unknown dataset digit; did you mean digits?"):
        download("digit", folder, [], False, [])


# -- several processes -----------------------------------------------------------------------------

SPAWN = multiprocessing.get_context("spawn")


def start(dataset: Dataset, folder: Path) -> multiprocessing.process.BaseProcess:
    process = SPAWN.Process(target=download_files, args=("small", dataset, folder))
    process.start()
    return process


def wait_until(happened: Callable[[], Collection[object] | bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_two_processes_fetch_a_dataset_once(server: Server, folder: Path) -> None:
    def late(handler: Handler) -> None:
        handler.server.over.wait(1)
        whole(CONTENT)(handler)

    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", late)))
    processes = [start(dataset, folder) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.asked) == 1
    verify(dataset, folder)


def test_killed_download_leaves_no_folder_and_is_gone_on_with(server: Server, folder: Path) -> None:
    url = server.says("/data.bin", hanging(CONTENT, 100_000), whole(CONTENT))
    dataset = dataset_of(file_of(CONTENT, url))
    partial = folder.with_name("part-small") / "data.bin.partial"
    process = start(dataset, folder)
    try:
        wait_until(lambda: partial.exists() and partial.stat().st_size > 0)
    finally:
        process.kill()
        process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not folder.exists()
    left = partial.stat().st_size
    fetch(dataset, folder)
    assert server.asked == [("/data.bin", None), ("/data.bin", f"bytes={left}-")]
    verify(dataset, folder)


def test_kill_before_the_last_rename_loses_nothing(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of(file_of(CONTENT, server.says("/data.bin", whole(CONTENT))))

    class Killed(BaseException):
        """Stands for a kill: nothing handles it."""

    def kill(self: Path, target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", kill)
        with pytest.raises(Killed):
            fetch(dataset, folder)
    assert not folder.exists()
    fetch(replace(dataset), folder, offline=True)
    assert len(server.asked) == 1
    verify(dataset, folder)


# -- archives that are kept whole --------------------------------------------------------------------


def tree_of(content: bytes, *urls: str, **more: Any) -> RemoteFile:
    return file_of(content, *urls, name="set.tar.gz", tree="set", **more)


TREE = {"set/a/1.txt": b"one", "set/b/2.txt": b"two"}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def members_of(archive: Path) -> dict[str, bytes]:
    return dict(read_members(archive, lambda name: True))


def test_archive_with_a_tree_is_kept_whole(server: Server, folder: Path) -> None:
    official = tar_of(TREE)
    fetch(dataset_of(tree_of(official, server.says("/set.tar.gz", whole(official)))), folder)
    assert (folder / "set.tar.gz").read_bytes() == official
    assert members_of(folder / "set.tar.gz") == TREE


def test_unpacked_tree_in_a_mirror_stands_for_its_archive(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "mirror" / "small-set", TREE)
    dataset = dataset_of(tree_of(tar_of(TREE)))
    for _ in range(2):  # the second time the folder is found complete
        fetch(dataset, folder, [tmp_path / "mirror"], offline=True)
        assert members_of(folder / "set.tar.gz") == TREE
        [file] = dataset.files
        assert read_manifest(folder)["set.tar.gz"]["packed"] == mark_of(
            file, tmp_path / "mirror/small-set/set"
        )
    verify(dataset, folder)


def test_only_what_is_needed_of_an_unpacked_tree_is_packed(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "mirror" / "small-set", TREE)
    dataset = dataset_of(tree_of(tar_of(TREE), needed=("b/*",)))
    fetch(dataset, folder, [tmp_path / "mirror"], offline=True)
    assert members_of(folder / "set.tar.gz") == {"set/b/2.txt": b"two"}
    verify(dataset, folder)


def test_damaged_packed_archive_is_noticed_and_packed_anew(folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "mirror" / "small-set", TREE)
    dataset = dataset_of(tree_of(tar_of(TREE)))
    fetch(dataset, folder, [tmp_path / "mirror"], offline=True)
    content = (folder / "set.tar.gz").read_bytes()
    (folder / "set.tar.gz").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is damaged"):
        verify(dataset, folder)
    fetch(dataset, folder, [tmp_path / "mirror"], offline=True)
    assert (folder / "set.tar.gz").read_bytes() == content


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_part_of_an_archive_is_taken_only_where_a_part_is_enough(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    mirror, some = tmp_path / "mirror", {"set/a/1.txt": b"one"}
    path = "pieces/some.tar.gz" if kind == "archive" else "pieces/some"
    content = {path: tar_of(some)} if kind == "archive" else {f"{path}/a/1.txt": b"one"}
    put(mirror, content)
    dataset = dataset_of(tree_of(tar_of(TREE), parts=(path,)))
    assert "lacks set.tar.gz or its folder set" in refusal(dataset, folder, [mirror], offline=True)
    assert "lacks set.tar.gz" in (missing_step("small", dataset, [mirror], True, []) or "")
    assert missing_step("small", dataset, [mirror], True, [], part=True) is None
    fetch(dataset, folder, [mirror], offline=True, part=True)
    assert members_of(folder / "set.tar.gz") == some
    verify(dataset, folder)


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_part_that_was_changed_is_taken_anew(kind: str, folder: Path, tmp_path: Path) -> None:
    mirror, some, more = (
        tmp_path / "mirror",
        {"set/a/1.txt": b"one"},
        {"set/a/1.txt": b"one", "set/a/3.txt": b"3"},
    )
    path = "pieces/some.tar.gz" if kind == "archive" else "pieces/some"
    dataset = dataset_of(tree_of(tar_of(TREE), parts=(path,)))

    def held(tree: dict[str, bytes]) -> dict[str, str]:
        folders = {name.replace("set/", f"{path}/"): content for name, content in tree.items()}
        put(mirror, {path: tar_of(tree)} if kind == "archive" else folders)
        return marks_of_part(dataset, [mirror], folder)

    marks = [held(some)]
    fetch(dataset, folder, [mirror], offline=True, part=True)
    marks.append(held(more))
    fetch(dataset, folder, [mirror], offline=True, part=True)
    assert members_of(folder / "set.tar.gz") == more
    assert marks[0] != marks[1]


def unreadable(*asked: object, **options: object) -> NoReturn:
    """A mirror of another user."""
    raise PermissionError


def test_part_from_before_there_were_marks_has_none(folder: Path, tmp_path: Path) -> None:
    """Else an update would have it fetched again, though the mirror may be away."""
    put(tmp_path / "mirror", {"pieces/some/a/1.txt": b"one"})
    dataset = dataset_of(tree_of(tar_of(TREE), parts=("pieces/some",)))
    fetch(dataset, folder, [tmp_path / "mirror"], offline=True, part=True)
    manifest = read_manifest(folder)
    manifest["set.tar.gz"]["packed"] = True
    write_json(folder / MANIFEST, manifest)
    assert marks_of_part(dataset, [], folder) == {}


def test_mirror_that_is_away_changes_no_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    put(mirror, {"pieces/some/a/1.txt": b"one"})
    dataset = dataset_of(tree_of(tar_of(TREE), parts=("pieces/some",)))
    assert marks_of_part(dataset, [], folder) == {}
    fetch(dataset, folder, [mirror], offline=True, part=True)
    marks = marks_of_part(dataset, [mirror], folder)
    assert marks.keys() == {"set.tar.gz"}
    assert marks_of_part(dataset, [], folder) == marks
    monkeypatch.setattr("lapwing.datasets.download.mirror_copies", unreadable)
    assert marks_of_part(dataset, [mirror], folder) == marks
    monkeypatch.undo()
    fetch(dataset, folder, [], offline=True, part=True)
    assert members_of(folder / "set.tar.gz") == {"set/a/1.txt": b"one"}


def test_the_official_archive_takes_the_place_of_a_part(folder: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    put(mirror, {"pieces/some/a/1.txt": b"one"})
    dataset = dataset_of(tree_of(tar_of(TREE), parts=("pieces/some",)))
    fetch(dataset, folder, [mirror], offline=True, part=True)
    put(mirror, {"small-set/set.tar.gz": tar_of(TREE)})
    assert marks_of_part(dataset, [mirror], folder) == {}
    fetch(dataset, folder, [mirror], offline=True, part=True)
    assert members_of(folder / "set.tar.gz") == TREE
