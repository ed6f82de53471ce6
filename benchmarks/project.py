"""A copy of the workflow in which nothing is made, for benchmarks that run it from nothing."""

import shutil
from pathlib import Path

WORKFLOW = ("Snakefile", "config.yaml", "rules", "scripts", "notebooks", "profiles", "published", "studies")
WITH_PACKAGE = ("src", *WORKFLOW)


def new_project(original: Path, folder: Path, names: tuple[str, ...] = WITH_PACKAGE) -> Path:
    """Copy these files and folders of a checkout to a new folder; gives it."""
    folder.mkdir(parents=True)
    for name in names:
        copy = shutil.copytree if (original / name).is_dir() else shutil.copy
        copy(original / name, folder / name)
    return folder
