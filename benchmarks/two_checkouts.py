"""Checkouts that share one cache and one folder of finished runs, started together: what do they do twice?

    python -m benchmarks.two_checkouts [--trials 5] [--checkouts 2] [artefact …]

Snakemake's cache between workflows has no lock: two that miss an entry at the same time both make it.
Finished runs have one. Every trial begins with empty folders, at demo scale; a line says how many cached jobs
were done more than once, how many runs were trained more than once, what is damaged in the cache, and which
results differ (`benchmarks/same.py`). Ends with exit code 1 if a run was trained twice, or anything is
damaged or differs.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.project import ROOT, new_project, screen_of, started
from benchmarks.same import different
from lapwing.datasets.raw import MANIFEST, look_at, read_manifest
from lapwing.errors import UserError
from lapwing.files import read_arrays, read_json

CACHED = ("download", "prepare", "corrupt")


@dataclass(frozen=True)
class Together:
    """Checkouts that were started together, and what they share."""

    folders: Sequence[Path]
    cache: Path
    scale: str
    codes: Sequence[int]
    """How each ended."""

    def said(self, folder: Path) -> str:
        """What Snakemake printed in a checkout."""
        return screen_of(folder).read_text(encoding="utf-8")

    @property
    def failed(self) -> list[str]:
        """The end of what those said that failed."""
        ended = zip(self.folders, self.codes, strict=True)
        return [self.said(folder)[-3000:] for folder, code in ended if code]

    @property
    def well(self) -> bool:
        """All ended well, with the same results, no damage, and every run trained once."""
        wrong = self.failed or self.differing() or self.damaged()
        return not wrong and set(self.trained.values()) == {1}

    @property
    def done(self) -> Counter[str]:
        """How often each cached job was done: one that is taken from the cache writes no log."""
        return Counter(
            str(log.relative_to(folder / "outputs" / self.scale / "logs").with_suffix(""))
            for folder in self.folders
            for stage in CACHED
            for log in folder.glob(f"outputs/{self.scale}/logs/{stage}/**/*.log")
        )

    @property
    def trained(self) -> Counter[tuple[str, int]]:
        """How often each run, by key and seed, was trained."""
        return Counter(
            (run["key"], run["seed"])
            for folder in self.folders
            for path in folder.glob(f"outputs/{self.scale}/runs/*/*/runs.json")
            for run in read_json(path)
            if run["trained"] != "found finished"
        )

    def damaged(self) -> list[str]:
        """The entries of the cache that are not what was written, and what was left half-written."""
        found = [path.name for path in self.cache.glob("tmp*")]
        for path in self.cache.glob("*.safetensors"):
            try:
                read_arrays(path)
            except UserError as error:
                found.append(f"{error}")
        for path in self.cache.glob(f"*/{MANIFEST}"):
            files = read_manifest(path.parent)
            found += [
                f"{path}: {n}" for n in files if look_at(path.with_name(n)).sha256 != files[n]["sha256"]
            ]
        return found

    def nested(self) -> int:
        """How many folders lie in another: Snakemake moves the second of two into the first."""
        entries = {path.name for path in self.cache.iterdir()}
        return sum(path.name in entries for path in self.cache.glob("*/*"))

    def differing(self) -> list[str]:
        """The result files that are not the same in all checkouts."""
        first, *others = (folder / "outputs" / self.scale for folder in self.folders)
        return sorted({name for other in others for name in different(first, other)})


def start_together(folders: Sequence[Path], shared: Path, scale: str, words: Sequence[str] = ()) -> Together:
    """Start Snakemake in these checkouts at once, with a cache and a folder of finished runs in `shared`."""
    cache = shared / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    words = [*words, "--cores", "1", "--cache"]
    words += ["--config", f"scale={scale}", f"finished_runs={shared / 'finished'}"]
    processes = [started(folder, words, cache) for folder in folders]
    return Together(folders, cache, scale, [process.wait() for process in processes])


def told(together: Together) -> str:
    """A line about what was done twice."""
    done, trained = together.done, together.trained
    twice = sum(number > 1 for number in done.values())
    again = sum(number > 1 for number in trained.values())
    return "; ".join(
        [
            f"{twice} of {len(done)} cached jobs done more than once",
            f"{again} of {len(trained)} runs trained more than once",
            f"in the cache {together.nested()} folders nested, damaged: {together.damaged()}",
            f"results that differ: {together.differing()}",
            f"failed: {len(together.failed)}",
        ]
    )


def main() -> None:
    """Print a line per trial."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artefacts", nargs="*", default=["figure_4"])
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--checkouts", type=int, default=2)
    options = parser.parse_args()
    bad = 0
    for number in range(1, options.trials + 1):
        with tempfile.TemporaryDirectory(prefix="lapwing-together-") as folder:
            checkouts = [new_project(ROOT, Path(folder, f"checkout-{n}")) for n in range(options.checkouts)]
            start = time.monotonic()
            together = start_together(checkouts, Path(folder, "shared"), "demo", options.artefacts)
            print(f"trial {number}, {time.monotonic() - start:.0f} s: {told(together)}", flush=True)
            for text in together.failed:
                print(text, file=sys.stderr)
            bad += not together.well
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
