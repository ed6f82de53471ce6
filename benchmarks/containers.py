"""Whether containers give the same numbers: the demo here and in containers, each from nothing.

    make same-numbers

Two copies of the workflow in `outputs/same-numbers` share nothing, finished runs included. Every file that
holds numbers is compared: equal byte by byte, equal in content (it may say when it was made, or how long
training took), or not.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.project import WORKFLOW, new_project
from lapwing import files

ROOT = Path(__file__).parent.parent
NUMBERS = {
    "prepared data": "data/*.safetensors",
    "corrupted": "corrupted/**/*.safetensors",
    "metrics": "runs/**/metrics.parquet",
    "sources": "runs/**/sources.parquet",
    "tables": "tables/*.csv",
    "figures": "figures/*.png",
}
"""What is compared, below `outputs/demo`."""


def main(folder: Path, words: list[str]) -> None:
    """Run the demo twice, compare, and print; the exit code says whether all is equal."""
    here, contained = folder / "here", folder / "in-containers"
    for copy, options in ((here, []), (contained, ["--sdm", "apptainer"])):
        print(f"{copy}: {run(copy, [*options, *words]):.0f} s", flush=True)
    found = compare(here / "outputs/demo", contained / "outputs/demo")
    for kind, results in found.items():
        counts = ", ".join(f"{number} {how}" for how, number in Counter(results.values()).items())
        print(f"{kind}: {counts or 'none'}")
    unequal = [name for results in found.values() for name, how in results.items() if how == "different"]
    sys.exit("\n".join(["Different:", *unequal]) if unequal or not all(found.values()) else 0)


def run(folder: Path, words: list[str]) -> float:
    """The workflow in a copy of this checkout that holds nothing made; gives seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    new_project(ROOT, folder, WORKFLOW)
    (folder / "containers").symlink_to(ROOT / "containers")
    environment = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_OUTPUT_CACHE"}
    begun = time.monotonic()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=demo", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603
    return time.monotonic() - begun


def compare(one: Path, other: Path) -> dict[str, dict[str, str]]:
    """Kind of file → name → `equal`, `equal in content` or `different`; so is a file that only one has."""
    return {
        kind: {
            str(name): how(one / name, other / name)
            for name in sorted({path.relative_to(top) for top in (one, other) for path in top.glob(pattern)})
        }
        for kind, pattern in NUMBERS.items()
    }


def how(one: Path, other: Path) -> str:
    """How two files compare."""
    if not (one.is_file() and other.is_file()):
        return "different"
    if one.read_bytes() == other.read_bytes():
        return "equal"
    found = content(one)
    return "equal in content" if found and found == content(other) else "different"


def content(path: Path) -> str | None:
    """The checked hash of what arrays or a table hold; a csv without measured times; of others None."""
    if path.suffix == ".safetensors":
        files.read_arrays(path)
        return files.content_hash(path)
    if path.suffix == ".parquet":
        files.read_table(path)
        return str(json.loads(pq.read_schema(path).metadata[b"lapwing"])["sha256"])
    if path.suffix == ".csv":
        return "\n".join(line for line in path.read_text().splitlines() if ",cost_of_" not in line)
    return None


if __name__ == "__main__":
    main(ROOT / "outputs/same-numbers", sys.argv[1:])
