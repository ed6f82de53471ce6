"""The raw folder of a dataset: its files, and `manifest.json`, which records what each of them holds."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lapwing.datasets.base import MIB, Content, Dataset, Found
from lapwing.errors import UserError
from lapwing.files import read_json, write_json

MANIFEST = "manifest.json"

Manifest = Mapping[str, Mapping[str, Any]]
"""For each file "sha256", "size", and "from": the address or the file that it came from."""


def look_at(path: Path) -> Found:
    """Size, digests and first bytes of a file."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0
    with path.open("rb") as file:
        beginning = file.read(64)
        file.seek(0)
        while chunk := file.read(MIB):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return Found(size, sha256.hexdigest(), md5.hexdigest(), beginning)


def write_manifest(folder: Path, manifest: Manifest, dataset_key: str) -> None:
    """Record what the files of `folder` hold: `manifest` with "sha256", "size" and "from" of each."""
    content = {name: dict(entry) for name, entry in manifest.items()}
    write_json(folder / MANIFEST, content, {"dataset": dataset_key})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a raw folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    return cast(Manifest, read_json(folder / MANIFEST))


def as_recorded(content: Content, manifest: Manifest) -> Content:
    """What the manifest says of a file, in place of what is published."""
    entry = manifest[content.name]
    return Content(name=content.name, sha256=entry["sha256"], size=entry["size"])


PACKED = "packed"
"""In the manifest's entry of an archive that is not the official one, packed from the files of a mirror or a
part of it: the mark of what the mirror held (`lapwing.datasets.mirror.mark_of`)."""


def verify(dataset: Dataset, folder: Path) -> Manifest:
    """The manifest of `folder`, after every file was found to hold what it, and what is published, says.

    An archive that is not the official one is held against the manifest alone.

    Raises:
        UserError: names what is missing or damaged, and the command that puts it right.
    """
    manifest = read_manifest(folder)
    remedy = f"delete the folder and start again, it will be fetched anew: rm -r {folder}"
    for content in dataset.kept:
        path = folder / content.name
        if content.name not in manifest or not path.is_file():
            raise UserError(f"{path} is missing; {remedy}")
        found = look_at(path)
        problem = as_recorded(content, manifest).mismatch(found)
        if not manifest[content.name].get(PACKED):
            problem = problem or content.mismatch(found)
        if problem:
            raise UserError(f"{path} is damaged (it {problem}); {remedy}")
    return {content.name: manifest[content.name] for content in dataset.kept}
