"""Whether two folders of outputs hold the same numbers.

Two files are `equal` byte by byte, or `equal in content`: they differ only in what they say of their making,
or in measured times. All else is `different`, as is a file that only one of the folders has.
"""

import json
from pathlib import Path

import pyarrow.parquet as pq

from lapwing import files

NUMBERS = {
    "prepared data": "data/*.safetensors",
    "corrupted": "corrupted/**/*.safetensors",
    "metrics": "runs/**/metrics.parquet",
    "sources": "runs/**/sources.parquet",
    "results": "results/*.parquet",
    "excerpts": "excerpts/*.safetensors",
    "tables": "tables/*.csv",
    "figures": "figures/*.png",
}
"""The files that hold numbers, below `outputs/<scale>`."""
TIMES = "_runs.parquet"
"""How the tables of results end that say how the runs came about, and how long they took."""


def compare(one: Path, other: Path) -> dict[str, dict[str, str]]:
    """Kind of file → name → how the two compare, of `outputs/<scale>` in two projects."""
    return {
        kind: {str(name): how(one / name, other / name) for name in _names(pattern, one, other)}
        for kind, pattern in NUMBERS.items()
    }


def different(one: Path, other: Path) -> list[str]:
    """The files that are not the same; where nothing was made, that."""
    found = {name: how for results in compare(one, other).values() for name, how in results.items()}
    return [name for name, how in found.items() if how == "different"] if found else ["nothing was made"]


def _names(pattern: str, *folders: Path) -> list[Path]:
    found = {path.relative_to(folder) for folder in folders for path in folder.glob(pattern)}
    return sorted(name for name in found if not name.name.endswith(TIMES))


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
