"""The results of a study as one tidy table of each kind, from the files of its parts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lapwing import files
from lapwing.errors import UserError
from lapwing.results.artefact import Axis, Cell
from lapwing.training.origin import origins_of

METRIC_COLUMNS = ["seed", "epoch", "split", "metric", "value"]
SOURCE_COLUMNS = [
    *["seed", "epoch", "step", "source", "is_corrupt"],
    *["mean_loss", "unreliability", "multiplier"],
]

Point = tuple[Axis, ...]
"""The values of a cell's axes, in the order of the study's axes."""

Run = frozenset[tuple[str, Axis]]
"""The axes of a run's cell, and its seed."""


def aggregate(
    metrics: Sequence[Path],
    sources: Sequence[Path],
    runs: Sequence[Path],
    study: Mapping[str, Any],
    out: Mapping[str, Path],
) -> None:
    """Put the parts of a study together.

    Args:
        metrics: `metrics.parquet` of each part.
        sources: `sources.parquet` of each part.
        runs: `runs.json` of each part.
        study: `{"name": …, "cells": [{axes…, "metric": {…}, "seeds": […]}], "settings": […]}`; cells
            without seeds were not asked for; `settings` are the content keys of those of each cell.
        out: the files to write: `results`, `sources`, `runs`.

    Raises:
        UserError: a file is damaged or not one of this study, a run is missing, twice there, cut short,
            or made with other settings, or a value is not finite.
    """
    name = study["name"]
    cells = [Cell.read(cell) for cell in study["cells"]]
    _check_settings(runs, cells, study["settings"])
    all_runs = _runs_of(name, runs)
    _check_runs(name, cells, all_runs)
    results = _joined(metrics, METRIC_COLUMNS, cells, all_runs)
    history = _joined(sources, SOURCE_COLUMNS, cells, all_runs)
    _check_results(name, cells, results, all_runs)
    _refuse_twice(name, history, [*_axes(cells), "seed", "step", "source"])
    about = {"study": name, "asked": files.content_key(study), "cells": len(cells), "runs": len(all_runs)}
    for kind, table in (("results", results), ("sources", history), ("runs", all_runs)):
        files.write_table(Path(out[kind]), table, about | {"kind": kind})


ENDINGS = {"results": "", "sources": "_sources", "runs": "_runs"}
"""What follows a study's name in the names of its tables."""


def check_results(tables: Mapping[str, Iterable[Path]], asked: Mapping[str, str]) -> None:
    """Refuse a table that `aggregate` made of something else, another study or another scale for instance.

    Args:
        tables: `<study>.parquet`, `<study>_sources.parquet` and `<study>_runs.parquet`, by kind.
        asked: study → the content key of what `aggregate` is told of it.

    Raises:
        UserError: names the file, and the command that has it made anew.
    """
    for kind, paths in tables.items():
        for path in paths:
            about = files.read_table_about(path)
            study = path.stem.removesuffix(ENDINGS[kind])
            expected = {"study": study, "kind": kind, "asked": asked[study]}
            check_made_of(path, about, expected, f"the {kind} of {study} as it is")


def check_made_of(path: Path, about: Mapping[str, Any], expected: Mapping[str, str], what: str) -> None:
    """Refuse a file that does not say of itself what is expected.

    Raises:
        UserError: names the file, and the command that has it made anew.
    """
    if {name: about.get(name) for name in expected} != expected:
        raise UserError(
            f"{path} holds something else than {what} asked for now; delete it and start again, it will be "
            f"made anew: rm {path}"
        )


def read_results(results: Iterable[str | Path]) -> pd.DataFrame:
    """Read the tidy tables of one or several studies behind an artefact, as one."""
    tables = [files.read_table(Path(path)) for path in results]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def without_diverged(results: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Leave out the runs that diverged: their last epoch is not their end."""
    if runs.empty or results.empty:
        return results
    lost = runs[runs["diverged_epoch"].notna()]
    if lost.empty:
        return results
    keys = [column for column in results if column in runs and column not in METRIC_COLUMNS[1:]]
    known = set(_comparable(lost[keys]))
    is_lost = [row in known for row in _comparable(results[keys])]
    return results[~np.array(is_lost, dtype=bool)]


def _comparable(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows, with None for an axis that the study has not: no NaN equals another."""
    values = table.astype(object)
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def of_axes(table: pd.DataFrame, axes: Iterable[str], cells: Iterable[Cell]) -> pd.DataFrame:
    """The rows of the studies that have just these axes, among the studies of `cells`.

    Where studies of several axes stand in one table, a study has no values in the axes of others.
    """
    further = {axis for cell in cells for axis in cell.axes} - set(axes)
    others = [axis for axis in table if axis in further]
    return table[table[others].isna().all(axis=1)]


def by_run(cells: Sequence[Cell], table: pd.DataFrame) -> dict[Run, pd.DataFrame]:
    """The rows of each run."""
    found: dict[Run, pd.DataFrame] = {}
    for axes in dict.fromkeys(tuple(cell.axes) for cell in cells):
        keys = [*axes, "seed"]
        if set(keys) <= set(table):
            groups = of_axes(table, axes, cells).groupby(keys, sort=False)
            found |= {_run_at(keys, point): rows for point, rows in groups}
    return found


def run_of(axes: Mapping[str, Axis], seed: int) -> Run:
    """The run of a cell with a seed."""
    return frozenset({**axes, "seed": seed}.items())


def at_epoch_ends(sources: pd.DataFrame) -> pd.DataFrame:
    """The rows of the sources at the ends of epochs, without the records inside them.

    They alone have a mean loss, which is that of the epoch.
    """
    if sources.empty:
        return sources
    ends = sources.groupby(_of_run(sources, "epoch"), sort=False, dropna=False)["step"].transform("max")
    return sources[sources["step"] == ends]


def at_the_end(sources: pd.DataFrame) -> pd.DataFrame:
    """The rows of the sources at the end of training."""
    if sources.empty:
        return sources
    ends = sources.groupby(_of_run(sources), sort=False, dropna=False)["step"].transform("max")
    return sources[sources["step"] == ends]


def _of_run(sources: pd.DataFrame, *further: str) -> list[str]:
    """The columns that tell runs apart."""
    axes = [str(column) for column in sources if column not in SOURCE_COLUMNS]
    return [*axes, "seed", *further]


# -- metrics and sources ------------------------------------------------------------------------------


def _joined(paths: Sequence[Path], columns: list[str], cells: list[Cell], runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of all parts, in the order of the files; columns as the study has them."""
    expected = [*_axes(cells), *columns]
    tables = []
    for path in paths:
        table, about = files.read_table_with_about(Path(path))
        if set(table.columns) != set(expected):
            there, wanted = ", ".join(table.columns), ", ".join(expected)
            raise UserError(f"{path}: its columns are {there}; a part of this study has {wanted}.")
        _check_cells(Path(path), table, cells)
        _check_keys(Path(path), about, _axes(cells), runs)
        tables.append(table[expected])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=expected)


def _check_cells(path: Path, table: pd.DataFrame, cells: list[Cell]) -> None:
    """Every row belongs to a run that was asked for: not a file of another study under our name."""
    asked = _asked(cells)
    keys = [*_axes(cells), "seed"]
    for row in table[keys].drop_duplicates().itertuples(index=False, name=None):
        if row not in asked:
            shown = _shown(keys, row)
            raise UserError(f"{path}: {shown} is no run of this study; make the file anew: rm {path}")


def _check_results(name: str, cells: list[Cell], results: pd.DataFrame, runs: pd.DataFrame) -> None:
    axes = _axes(cells)
    if not axes:
        return
    _refuse_twice(name, results, [*axes, "seed", "epoch", "split", "metric"])
    wrong = results[~np.isfinite(results["value"].astype(float))]
    if len(wrong):
        keys = [*axes, "seed", "epoch", "metric"]
        raise UserError(f"{name}: a value is not finite: {_shown(keys, wrong[keys].iloc[0])}.")
    whole = without_diverged(results, runs)
    ends = whole[whole["split"] == "test"].groupby([*axes, "seed"], sort=False)["epoch"].max()
    _check_lengths(name, axes, ends)
    ended = set(ends.index)
    diverged = set(_points(runs[runs["diverged_epoch"].notna()], axes))
    for run in _asked(cells):
        if run not in ended and run not in diverged:
            raise UserError(f"{name}: there are no test results of {_shown([*axes, 'seed'], run)}.")


def _check_lengths(name: str, axes: list[str], ends: "pd.Series[int]") -> None:
    """All runs of a cell have the same number of epochs."""
    lengths = ends.groupby(level=axes, sort=False).agg(["min", "max"])
    uneven = lengths[lengths["min"] != lengths["max"]]
    if len(uneven):
        point = uneven.index[0] if len(axes) > 1 else (uneven.index[0],)
        shortest, longest = uneven.iloc[0]
        cell = _shown(axes, point)
        raise UserError(f"{name}: the runs of {cell} end at different epochs ({shortest} and {longest}).")


def _refuse_twice(name: str, table: pd.DataFrame, keys: list[str]) -> None:
    twice = table[table.duplicated(keys)]
    if len(twice):
        raise UserError(f"{name}: {_shown(keys, twice[keys].iloc[0])} is there twice.")


# -- runs ---------------------------------------------------------------------------------------------


def _runs_of(study: str, paths: Sequence[Path]) -> pd.DataFrame:
    rows = [_flat(run) for path in paths for run in files.read_json(Path(path))]
    table = pd.DataFrame([{"study": study, **row} for row in rows])
    if table.empty:
        table = pd.DataFrame(columns=["study", "seed", "seconds", "diverged_epoch", "diverged_step"])
    return table.astype({"diverged_epoch": "Int64", "diverged_step": "Int64"})


def _flat(run: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a run: versions, origins and divergence as columns, settings as text."""
    nested = ("versions", "origins", "diverged", "settings")
    row = {key: value for key, value in run.items() if key not in nested} | _places(run)
    versions = {f"version_{name}": version for name, version in (run.get("versions") or {}).items()}
    diverged = run.get("diverged") or {}
    ends = {"diverged_epoch": diverged.get("epoch"), "diverged_step": diverged.get("step")}
    return row | ends | versions | {"settings": files.canonical(run.get("settings"))}


def _places(run: Mapping[str, Any]) -> dict[str, str | None]:
    """Machine and versions, or several where it went on elsewhere; None where one is not recorded."""
    origins = origins_of(run)
    columns = {"machine": [origin.machine for origin in origins], "lock": [origin.lock for origin in origins]}
    return {
        name: None if None in there else ", then ".join(dict.fromkeys(map(str, there)))
        for name, there in columns.items()
    }


def _check_runs(name: str, cells: list[Cell], runs: pd.DataFrame) -> None:
    axes = _axes(cells)
    missing = {*axes, "seed", "key", "seconds"} - set(runs.columns)
    if len(runs) and missing:
        raise UserError(f"{name}: the runs say nothing of {', '.join(sorted(missing))}.")
    there = Counter(_points(runs, axes)) if len(runs) else Counter()
    asked = _asked(cells)
    for run, times in there.items():
        if run not in asked or times > 1:
            why = "was not asked for" if run not in asked else "is there twice"
            raise UserError(f"{name}: run {_shown([*axes, 'seed'], run)} {why}.")
    for run in asked:
        if run not in there:
            raise UserError(f"{name}: run {_shown([*axes, 'seed'], run)} is missing.")


# -- which runs they are -------------------------------------------------------------------------------


def _check_settings(paths: Sequence[Path], cells: list[Cell], settings: Sequence[str]) -> None:
    """Every run was made with the settings that are asked for now."""
    asked = {tuple(cell.axes.values()): key for cell, key in zip(cells, settings, strict=True)}
    axes = _axes(cells)
    for path in paths:
        for run in files.read_json(Path(path)):
            point = tuple(run.get(axis) for axis in axes)
            if point in asked and files.content_key(run.get("settings")) != asked[point]:
                shown = _shown([*axes, "seed"], [*point, run.get("seed")])
                raise _of_other_runs(path, f"{shown} was trained with other settings than are asked for now")


def _check_keys(path: Path, about: Mapping[str, Any], axes: list[str], runs: pd.DataFrame) -> None:
    """The values of a part are those of the runs that the study has, not of others with the same axes."""
    keys = dict(zip(_points(runs, axes), runs["key"], strict=True)) if len(runs) else {}
    said = {
        (*(cell["axes"].get(axis) for axis in axes), seed): cell.get("key")
        for cell in about.get("cells", [])
        for seed in cell["seeds"]
    }
    if not said or any(key is None or keys.get(run) != key for run, key in said.items()):
        raise _of_other_runs(path, "it holds values of other runs than runs.json tells of")


def _of_other_runs(path: Path, why: str) -> UserError:
    folder = Path(path).parent
    return UserError(
        f"{path}: {why}; delete its folder and start again, finished runs are not trained again: "
        f"rm -r {folder}"
    )


# -- words --------------------------------------------------------------------------------------------


def _axes(cells: list[Cell]) -> list[str]:
    return list(cells[0].axes) if cells else []


def _asked(cells: list[Cell]) -> dict[Point, None]:
    """Every run asked for, as the values of its axes and its seed, in order."""
    return {(*cell.axes.values(), seed): None for cell in cells for seed in cell.seeds}


def _points(table: pd.DataFrame, axes: list[str]) -> list[Point]:
    return list(table[[*axes, "seed"]].itertuples(index=False, name=None))


def _run_at(keys: Sequence[str], values: Any) -> Run:
    return frozenset(zip(keys, values, strict=True))


def _shown(keys: Iterable[str], values: Iterable[Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
