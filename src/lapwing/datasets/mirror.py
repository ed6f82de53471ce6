"""Find the files of a dataset in mirrors: local folders laid out as `<mirror folder>/<official file name>`.

A mirror may hold an archive or its members: under their paths in the archive, in the mirror folder
or in the mirror itself, so that a folder into which an archive was unpacked is a mirror too.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from lapwing.datasets.base import Dataset, RemoteFile
from lapwing.files import content_key


def mirror_copies(
    file: RemoteFile, dataset: Dataset, mirrors: Sequence[Path], *, part: bool = False
) -> dict[str, Path]:
    """Where a file is, or all members of an archive are: {name: path}; empty where there is neither.

    The archive with a tree may also be the folder that it would be unpacked to; with `part`, a part of it.
    """
    folders = [folder for mirror in mirrors for folder in (mirror / dataset.mirror_folder, mirror)]
    whole = _first([mirror / dataset.mirror_folder / file.name for mirror in mirrors])
    if not whole and file.tree:
        parts = [mirror / path for mirror in mirrors for path in file.parts] if part else []
        trees = [folder / file.tree for folder in folders]
        whole = next((path for path in trees if path.is_dir()), None) or next(filter(_exists, parts), None)
    if whole:
        return {file.name: whole}
    members = {member.name: _first([folder / member.name for folder in folders]) for member in file.members}
    found = {name: path for name, path in members.items() if path}
    return found if len(found) == len(members) else {}


def mark_of(file: RemoteFile, copy: Path) -> str | None:
    """What tells a folder or a part, which a mirror holds in the place of a file, from what it was before.

    Cheap, as a folder may hold a hundred thousand files: every name counts, and the times of folders and of
    what lies at the top. None: the mirror holds the file itself.
    """
    if copy.is_file() and copy.name == file.name:
        return None
    names = {os.path.relpath(folder, copy): sorted(below + files) for folder, below, files in os.walk(copy)}
    looked_at = sorted(path for path in {copy, *copy.glob("*"), *map(copy.joinpath, names)} if path.exists())
    times = [[os.path.relpath(path, copy), path.stat().st_mtime_ns] for path in looked_at]
    sizes = [path.stat().st_size for path in looked_at if path.is_file()]
    return content_key([names, times, sizes])


def _called(file: RemoteFile, part: bool) -> str:
    """A file, and what may stand for it."""
    if file.members:
        return f"{file.name} or its members"
    parts = "".join(f" or, of it a part, {path} beside that folder" for path in file.parts) if part else ""
    return f"{file.name}{f' or its folder {file.tree}' if file.tree else ''}{parts}"


def _exists(path: Path) -> bool:
    return path.exists()


def _first(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def what_is_missing(
    key: str, dataset: Dataset, files: Sequence[RemoteFile], mirrors: Sequence[Path], *, part: bool = False
) -> str | None:
    """The sentence that names those of `files` that no mirror has; None if each is there."""
    missing = [file for file in files if not mirror_copies(file, dataset, mirrors, part=part)]
    if not missing:
        return None
    names = ", ".join(_called(file, part) for file in missing)
    if not mirrors:
        why, remedy = (
            "no data.mirror is set",
            f"set it to a folder that holds {dataset.mirror_folder}/ with {names}",
        )
    else:
        folders = " or ".join(str(mirror / dataset.mirror_folder) for mirror in mirrors)
        why, remedy = f"{folders} (data.mirror) lacks {names}", "put what is missing there"
    return f"{key}: data.offline is true and {why}; {remedy}, or set data.offline: false in config.yaml."
