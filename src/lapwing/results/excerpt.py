"""What a figure shows of single records: those of some sources as the learner saw them, with all its sources.

The run is that of LAP with the most corrupt sources: there is the most to see. To draw its noise again takes
PyTorch and all of its data, so this is a stage of its own, and what it leaves is small.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapwing import files
from lapwing.corruption.base import corrupt_inputs
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.results.artefact import Cell, selected
from lapwing.results.collect import (
    at_the_end,
    by_run,
    check_made_of,
    check_results,
    read_results,
    run_of,
    without_diverged,
)

ROLES = ("the most unreliable", "the median of the clean", "the least unreliable")

TITLES = {
    "source": "Source",
    "is_corrupt": "Corrupt",
    "records": "Records",
    "relabelled": "Labels changed (%)",
    "altered": "Inputs altered (%)",
    "mean_loss": "Mean loss",
    "unreliability": "Unreliability",
    "multiplier": "Multiplier",
}
"""What there is to know of a source: the columns of `Excerpt.sources`, and what a reader calls them."""


@dataclass(frozen=True)
class Example:
    """One training record of a source, as the learner saw it."""

    source: int
    is_corrupt: bool
    role: str
    """Its place among the sources: one of `ROLES`."""
    unreliability: float
    """Of the source, at the end of training."""
    number: int
    """Of the record: as the dataset calls it, else its row in the prepared data."""
    given: int
    """The label that the learner saw."""
    true: int
    is_altered: bool
    """Whether its signals are corrupted."""
    signals: Array
    """[C, T] float32."""


@dataclass(frozen=True)
class Excerpt:
    """What is shown of one run."""

    examples: tuple[Example, ...]
    """A record of the most and of the least unreliable source, and of the median of the clean."""
    sources: pd.DataFrame
    """At the end of training, the most unreliable first; shares of records are between 0 and 1."""
    dataset: str
    recording: Mapping[str, Any]
    """Leads, units and sampling frequency, where the prepared data say them."""

    def as_html(self) -> str:
        """The table of the sources as a fragment of HTML."""
        table = self.sources.assign(
            is_corrupt=self.sources["is_corrupt"].map({True: "yes", False: "no"}),
            relabelled=100 * self.sources["relabelled"],
            altered=100 * self.sources["altered"],
        ).rename(columns=TITLES)
        html: str = table.to_html(index=False, border=0, na_rep="", float_format="{:.2f}".format)
        return html


NOTHING = Excerpt((), pd.DataFrame({name: np.empty(0) for name in TITLES}), "", {})
"""The excerpt where no run counts unreliability."""


# -- the file --------------------------------------------------------------------------------------


def excerpt(
    artefact: str,
    cells: Sequence[Mapping[str, Any]],
    sources: Sequence[Path],
    runs: Sequence[Path],
    data: Sequence[Path],
    corrupted: Sequence[Path],
    asked: Mapping[str, str],
    out: Path,
) -> None:
    """Write what an artefact shows of the run that has the most corrupt sources, the first of several.

    Args:
        artefact: its name.
        cells: its cells; those without seeds were not selected.
        sources: `<study>_sources.parquet` of the studies behind it.
        runs: `<study>_runs.parquet` of them; the settings of a run name its corruption.
        data: prepared files.
        corrupted: corruption artefacts; that of the run is among them.
        asked: study → the content key of what `aggregate` is told of it.
        out: the file to write.

    Raises:
        UserError: a table was made of something else, or the data or the corruption artefact of the run is
            not among the files.
    """
    check_results({"sources": sources, "runs": runs}, asked)
    trained = read_results(runs)
    history = without_diverged(read_results(sources), trained)
    seen = _seen(artefact, selected(cells), history, trained, data, corrupted)
    _write(out, seen.excerpt() if seen else NOTHING, _made_of(artefact, cells, asked))


def check_excerpt(
    path: Path, artefact: str, cells: Sequence[Mapping[str, Any]], asked: Mapping[str, str]
) -> None:
    """Refuse a file that `excerpt` made of something else than it is told now.

    Raises:
        UserError: names the file, and the command that has it made anew.
    """
    expected = f"the records of {artefact} as they are"
    check_made_of(path, files.read_about(path), _made_of(artefact, cells, asked), expected)


def read_excerpt(path: str | Path | None) -> Excerpt:
    """The excerpt of a file; without one there is nothing to show.

    Raises:
        DamagedFile: it is not what was written.
        UserError: it is not there, or cannot be read.
    """
    if path is None:
        return NOTHING
    arrays, about = files.read_arrays(Path(path))
    return Excerpt(
        examples=tuple(
            Example(**told, signals=signals)
            for told, signals in zip(about["examples"], arrays["signals"], strict=True)
        ),
        sources=pd.DataFrame({name: arrays[f"sources/{name}"] for name in TITLES}),
        dataset=about["dataset"],
        recording=about["recording"],
    )


def _write(path: Path, taken: Excerpt, made_of: Mapping[str, str]) -> None:
    examples = [dict(vars(example)) for example in taken.examples]
    signals = [example.pop("signals") for example in examples]
    arrays = {f"sources/{name}": column.to_numpy() for name, column in taken.sources.items()}
    about = {"examples": examples, "dataset": taken.dataset, "recording": taken.recording}
    files.write_arrays(path, {"signals": np.array(signals, np.float32), **arrays}, {**made_of, **about})


def _made_of(artefact: str, cells: Sequence[Mapping[str, Any]], asked: Mapping[str, str]) -> dict[str, str]:
    """What the file says of what it was made of."""
    return {"artefact": artefact, "asked": files.content_key([cells, asked])}


# -- the run, and what is taken of it --------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """One run, and the data that it saw."""

    sources: pd.DataFrame
    """Its sources at the end of training."""
    prepared: Mapping[str, Array]
    prepared_about: Mapping[str, Any]
    """What the prepared file says of itself."""
    decided: Mapping[str, Array]
    """The corruption artefact."""
    about: Mapping[str, Any]
    """What the corruption artefact says of itself."""

    @property
    def is_relabelled(self) -> Array:
        """[N] bool: the samples whose label is not the true one."""
        changed: Array = self.decided["targets"] != self.prepared["train/targets"][self.decided["index"]]
        return changed

    @property
    def is_altered(self) -> Array:
        """[N] bool: the samples whose inputs are corrupted."""
        if self.about["input_rule"] is None:
            return np.zeros(len(self.decided["index"]), dtype=bool)
        return self.decided.get("is_altered", self.decided["is_corrupted"])

    def excerpt(self) -> Excerpt:
        """What is shown of it."""
        examples = tuple(self._example(row, role) for role, row in _chosen(self.sources).items())
        about = self.prepared_about
        return Excerpt(examples, self._table(), about["dataset"], about.get("recording", {}))

    def _table(self) -> pd.DataFrame:
        """What there is to know of each source, the most unreliable first."""
        flags = pd.DataFrame({"relabelled": self.is_relabelled, "altered": self.is_altered})
        of_source = flags.groupby(self.decided["source"])
        ranked = self.sources.set_index("source").sort_values("unreliability", ascending=False, kind="stable")
        table = ranked.assign(
            records=of_source.size(),
            relabelled=of_source["relabelled"].mean(),
            altered=of_source["altered"].mean(),
        )
        return table.reset_index()[list(TITLES)]

    def _example(self, row: "pd.Series[Any]", role: str) -> Example:
        """A source's first record whose label is changed and whose inputs are altered.

        Where it has none with both, the first with a changed label, else with altered inputs, else any.
        """
        own = np.flatnonzero(self.decided["source"] == row["source"])
        corrupted = 2 * self.is_relabelled[own] + self.is_altered[own]
        position = int(own[np.argmax(corrupted)])
        index, is_altered = int(self.decided["index"][position]), bool(self.is_altered[position])
        signals = np.asarray(self.prepared["train/inputs"][index], dtype=np.float32)
        if is_altered:
            [signals] = corrupt_inputs(self.about["input_rule"], signals[None], np.array([position]))
        return Example(
            source=int(row["source"]),
            is_corrupt=bool(row["is_corrupt"]),
            role=role,
            unreliability=float(row["unreliability"]),
            number=int(self.prepared["train/record"][index]) if "train/record" in self.prepared else index,
            given=int(self.decided["targets"][position]),
            true=int(self.prepared["train/targets"][index]),
            is_altered=is_altered,
            signals=signals,
        )


def _seen(
    artefact: str,
    cells: Sequence[Cell],
    sources: pd.DataFrame,
    runs: pd.DataFrame,
    data: Sequence[Path],
    corrupted: Sequence[Path],
) -> _Seen | None:
    """The run with the most corrupt sources, with its data; None where no run counts unreliability."""
    chosen = _most_corrupt(cells, sources)
    if chosen is None:
        return None
    cell, seed, ends = chosen
    run = by_run(cells, runs)[run_of(cell.axes, seed)].iloc[0]
    settings = json.loads(run["settings"])["corruption"]
    where = f"{artefact}: of the run {cell.axes}, seed {seed}, there is no"
    decided, about = _first(
        corrupted, lambda about: (about["settings"], about["seed"]) == (settings, seed), f"{where} corruption"
    )
    prepared, prepared_about = _first(
        data, lambda about: about["dataset"] == settings["dataset"], f"{where} prepared dataset"
    )
    return _Seen(ends, prepared, prepared_about, decided, about)


def _most_corrupt(cells: Sequence[Cell], sources: pd.DataFrame) -> tuple[Cell, int, pd.DataFrame] | None:
    """The run with the most corrupt sources among those that count unreliability, and its sources."""
    found = by_run(cells, at_the_end(sources))
    ends = [
        (cell, seed, found[run_of(cell.axes, seed)])
        for cell in cells
        for seed in cell.seeds
        if run_of(cell.axes, seed) in found
    ]
    counted = [run for run in ends if run[2]["unreliability"].notna().any()]
    return max(counted, key=lambda run: int(run[2]["is_corrupt"].sum()), default=None)


def _first(
    paths: Sequence[Path], is_wanted: Callable[[Mapping[str, Any]], bool], missing: str
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The first file of arrays that says the wanted of itself."""
    for path in map(Path, paths):
        if is_wanted(files.read_about(path)):
            return files.read_arrays(path)
    raise UserError(f"{missing} among {len(paths)} files.")


def _chosen(sources: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """The sources of which a record is shown, by role, each once; of equals the higher loss is the worse."""
    order = ["unreliability", "mean_loss"]
    ranked = sources.dropna(subset=["unreliability"]).sort_values(order, kind="stable")
    most, least = ranked.iloc[-1:], ranked.iloc[:1]
    clean = ranked[~ranked["is_corrupt"].astype(bool)].drop([*most.index, *least.index], errors="ignore")
    middle = clean.iloc[len(clean) // 2 :][:1]
    of_roles = zip(ROLES, (most, middle, least.drop(most.index, errors="ignore")), strict=True)
    return {role: rows.iloc[0] for role, rows in of_roles if len(rows)}
