"""Memory and time of preparing batches in the format of ImageNet64, of random pixels; on Linux.

    python -m benchmarks.prepare_imagenet64

Two training batches of the official size and a small test batch lie in a mirror; a fresh process brings and
prepares them as the workflow does. Needs 1.6 GB of memory and, for a while, 10 GB in the temporary folder.
"""

import argparse
import multiprocessing
import pickle
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lapwing.datasets import imagenet64
from lapwing.datasets.base import MIB, Dataset, Member, RemoteFile
from lapwing.datasets.download import download_files
from lapwing.datasets.prepare import prepare_files
from lapwing.files import Array, Streamed

OFFICIAL_ROWS, TEST_ROWS = 128_116, 100
TRAIN, TEST = imagenet64.TRAIN[:2], imagenet64.TEST
VALUES = 3 * imagenet64.SIDE**2


@dataclass(frozen=True)
class Cost:
    """What preparing took."""

    seconds: float
    before: int
    """Bytes of memory that the process had before."""
    peak: int
    """Bytes of memory that it had at most."""


def write_batch(path: Path, rows: int, seed: int) -> None:
    """A batch as the official ones were pickled, with labels from 1."""
    draw = np.random.default_rng(seed)
    data = draw.integers(0, 256, (rows, VALUES), dtype=np.uint8)
    labels = draw.integers(1, 1001, rows).tolist()
    with path.open("wb") as file:
        pickle.dump({"data": data, "labels": labels, "mean": data.mean(axis=0)}, file, protocol=3)


def small(rows: int) -> Dataset:
    """ImageNet64 with two training batches."""

    def read(folder: Path) -> dict[str, Array | Streamed]:
        return imagenet64.read_batches([folder / name for name in TRAIN], folder / TEST, imagenet64.SIDE)

    members = tuple(Member(name=name, largest=2048 * MIB) for name in (*TRAIN, TEST))
    return replace(
        imagenet64.DATASET,
        rows={"train": len(TRAIN) * rows, "test": TEST_ROWS},
        terms=None,
        read=read,
        files=(RemoteFile(name="small.zip", urls=(), members=members),),
    )


def prepared(folder: Path, rows: int) -> Cost:
    """Bring the batches of the mirror in `folder`, and prepare them there."""
    before, start = peak_memory(), time.perf_counter()
    download_files("small", small(rows), folder / "raw", [folder], offline=True)
    prepare_files("small", small(rows), folder / "raw", folder / "small.safetensors")
    return Cost(time.perf_counter() - start, before, peak_memory())


def peak_memory() -> int:
    """Bytes that this process had resident at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def measure(folder: Path, rows: int) -> Cost:
    """What a fresh process takes for two batches of `rows` images."""
    for seed, name in enumerate(TRAIN):
        write_batch(folder / name, rows, seed)
    write_batch(folder / TEST, TEST_ROWS, len(TRAIN))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(prepared, (folder, rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=OFFICIAL_ROWS, help="images of a batch")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        cost = measure(Path(place), rows)
    batch = rows * VALUES
    print(f"two batches of {rows} images, {batch / 1e9:.2f} GB each: {cost.seconds:.0f} s")
    print(f"memory before {cost.before / 1e9:.2f} GB, at most {cost.peak / 1e9:.2f} GB")
    print(f"held beside that: {(cost.peak - cost.before) / batch:.2f} batches")


if __name__ == "__main__":
    main()
