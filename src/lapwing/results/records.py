"""Single records of some sources as the learner sees them, and what a run thinks of each source.

The run is that of LAP with the most corrupt sources: there is the most to see.
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
from lapwing.results.artefact import Artefact, Cell
from lapwing.results.collect import at_the_end
from lapwing.results.measures import by_run, run_of

ROLES = ("the most unreliable", "the median of the clean", "the least unreliable")


@dataclass(frozen=True)
class Example:
    """One training record of a source, as the learner sees it."""

    source: int
    is_corrupt: bool
    role: str
    """Its place among the sources: one of `ROLES`."""
    unreliability: float
    """Of the source, at the end of training."""
    number: int
    """Of the record: as the dataset calls it, else its row in the prepared data."""
    given: int
    """The label that the learner sees."""
    true: int
    is_altered: bool
    """Whether its signals are corrupted."""
    signals: Array
    """[C, T] float32."""


@dataclass(frozen=True)
class Shown:
    """One run, and the data that it saw."""

    sources: pd.DataFrame
    """Its sources at the end of training."""
    prepared: Mapping[str, Array]
    decided: Mapping[str, Array]
    """The corruption artefact."""
    about: Mapping[str, Any]
    """What the corruption artefact says of itself."""
    prepared_about: Mapping[str, Any]
    """What the prepared file says of itself."""

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

    def examples(self) -> list[Example]:
        """A record of the most and of the least unreliable source, and of the median of the clean."""
        return [self._example(row, role) for role, row in _chosen(self.sources).items()]

    def table(self) -> pd.DataFrame:
        """What there is to know of each source, the most unreliable first: titles as columns."""
        flags = {"labels": self.is_relabelled, "inputs": self.is_altered, "source": self.decided["source"]}
        of_source = pd.DataFrame(flags).groupby("source")
        ranked = self.sources.set_index("source").sort_values("unreliability", ascending=False, kind="stable")
        shown = {
            "Corrupt": ranked["is_corrupt"].map({True: "yes", False: "no"}),
            "Records": of_source.size(),
            "Labels changed (%)": 100 * of_source["labels"].mean(),
            "Inputs altered (%)": 100 * of_source["inputs"].mean(),
            "Mean loss": ranked["mean_loss"],
            "Unreliability": ranked["unreliability"],
            "Multiplier": ranked["multiplier"],
        }
        return pd.DataFrame(shown).loc[ranked.index].rename_axis("Source").reset_index()

    def as_html(self) -> str:
        """The table of the sources as a fragment of HTML."""
        html: str = self.table().to_html(index=False, border=0, na_rep="", float_format="{:.2f}".format)
        return html

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


def show(
    artefact: Artefact,
    cells: Sequence[Cell],
    sources: pd.DataFrame,
    runs: pd.DataFrame,
    data: Sequence[Path],
    corrupted: Sequence[Path],
) -> Shown | None:
    """The run of an artefact that has the most corrupt sources, the first of several, with its data.

    Args:
        artefact: whose title stands in front of errors.
        cells: those that were selected.
        sources: tidy sources of the studies behind it.
        runs: their runs, whose settings name the corruption.
        data: prepared files.
        corrupted: corruption artefacts; that of the run is among them.

    Returns:
        The run; None where none of them counts unreliability.

    Raises:
        UserError: the data or the corruption artefact of the run is not among the files.
    """
    chosen = _most_corrupt(cells, sources)
    if chosen is None:
        return None
    cell, seed, ends = chosen
    run = by_run(cells, runs)[run_of(cell.axes, seed)].iloc[0]
    settings = json.loads(run["settings"])["corruption"]
    where = f"{artefact.title}: of the run {cell.axes}, seed {seed}, there is no"
    decided, about = _first(
        corrupted, lambda about: (about["settings"], about["seed"]) == (settings, seed), f"{where} corruption"
    )
    prepared, prepared_about = _first(
        data, lambda about: about["dataset"] == settings["dataset"], f"{where} prepared dataset"
    )
    return Shown(ends, prepared, decided, about, prepared_about)


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
