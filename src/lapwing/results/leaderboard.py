"""What stands below a table of many methods: the mean rank of each, and what a run of each costs.

`with_footer` adds both to a table's frame, so that its files hold them; `layout` shows them.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lapwing.results.artefact import BASELINE, Artefact, Cell
from lapwing.results.collect import Run, by_run, run_of, without_diverged
from lapwing.results.measures import rows_of
from lapwing.results.statistics import mean_ranks

COSTS = {"cost_of_run": "seconds", "cost_of_epoch": "seconds_per_epoch"}
"""Quantity of the frame → what it is the median of."""


def with_footer(
    frame: pd.DataFrame, artefact: Artefact, cells: Sequence[Mapping[str, Any]], runs: pd.DataFrame
) -> pd.DataFrame:
    """Add the mean rank and the cost of each column to a table's frame.

    Args:
        frame: as `tables.build` makes it.
        artefact: its description.
        cells: its cells.
        runs: the runs of its studies: columns seconds and settings, whose `epochs` are read.

    Returns:
        The frame and, per group (the first axis of the rows, where there are several), a row per column
        and quantity: `mean_rank` over the rows in which every column ran, `cost_of_run` and
        `cost_of_epoch`, the median over the rows of the ratio to standard of the median time.
    """
    asked = [Cell.read(cell) for cell in cells]
    ranks = [
        line
        for group, means in rank_tables(frame, artefact).items()
        for line in _footer(group, artefact, "mean_rank", ranks_of(means, artefact, asked), len(means))
    ]
    costs = [
        line
        for quantity, measured in COSTS.items()
        for group, ratios in _ratios(artefact, asked, runs, measured).items()
        for line in _footer(group, artefact, quantity, ratios.median(), len(ratios))
    ]
    footer = pd.DataFrame([*ranks, *costs], columns=frame.columns)
    if footer.empty:
        return frame
    footer["scale"] = frame["scale"].iloc[0]
    both = pd.concat([frame.astype(object), footer.astype(object)], ignore_index=True)
    return both.astype({column: _with_gaps(dtype) for column, dtype in frame.dtypes.items()})


def _with_gaps(dtype: Any) -> Any:
    """The type of a column when some of its rows have no value: the lines below all rows have few axes."""
    return "Int64" if pd.api.types.is_integer_dtype(dtype) else dtype


def rank_tables(frame: pd.DataFrame, artefact: Artefact) -> dict[Any, pd.DataFrame]:
    """The means that are ranked, by group: a row per row of the table, a column per column.

    As they are shown, by the first reading; rows in which a column has none are left out.
    """
    values = frame[(frame["quantity"] == "value") & (frame["reading"] == artefact.readings[0])]
    values = values[values["status"] != "published only"]
    columns = list(dict.fromkeys(values[artefact.columns]))
    group = artefact.rows[:1] if len(artefact.rows) > 1 else ()
    tables = values.groupby(list(group), sort=False) if group else [(("",), values)]
    return {point[0]: _ranked(rows, artefact, columns) for point, rows in tables}


def ranks_of(means: pd.DataFrame, artefact: Artefact, cells: Sequence[Cell]) -> "pd.Series[float]":
    """The mean rank of each column; empty where there is no row in which all ran."""
    better = artefact.shown_of(cells[0]).better
    return mean_ranks(means, better) if len(means) else pd.Series(dtype=float)


def _ranked(rows: pd.DataFrame, artefact: Artefact, columns: list[str]) -> pd.DataFrame:
    """Columns of which no row of the group has anything are no part of it."""
    means = rows.pivot(index=list(artefact.rows), columns=artefact.columns, values="mean").astype(float)
    there = means.dropna(axis=1, how="all")
    return there[[c for c in columns if c in there]].dropna().round(artefact.decimals)


def _footer(
    group: Any, artefact: Artefact, quantity: str, values: "pd.Series[float]", rows: int
) -> list[dict[str, Any]]:
    best = values.min()
    return [
        {
            artefact.rows[0]: group,
            artefact.columns: column,
            "quantity": quantity,
            "mean": value,
            "n": rows,
            "bold": quantity == "mean_rank" and value == best,
            "published_bold": False,
        }
        for column, value in values.items()
    ]


def _ratios(
    artefact: Artefact, cells: Sequence[Cell], runs: pd.DataFrame, measured: str
) -> dict[Any, pd.DataFrame]:
    """Median time of a run relative to standard, by group: a row per row of the table."""
    if runs.empty:
        return {}
    timed = without_diverged(runs.assign(seconds_per_epoch=runs["seconds"] / _epochs(runs)), runs)
    of_runs = {run: rows.iloc[0] for run, rows in by_run(cells, timed).items()}
    groups: dict[Any, list[dict[str, float]]] = {}
    for point, row in rows_of(artefact, cells).items():
        trained = _trained_like(of_runs, row.get(BASELINE))
        times = {run: float(one[measured]) for run, one in of_runs.items() if _how(one) == trained}
        medians = {column: _median(times, cell) for column, cell in row.items()}
        if (baseline := medians.get(BASELINE)) and baseline == baseline:
            ratios = {column: median / baseline for column, median in medians.items()}
            groups.setdefault(point[0] if len(artefact.rows) > 1 else "", []).append(ratios)
    return {group: pd.DataFrame(rows) for group, rows in groups.items()}


def _median(times: Mapping[Run, float], cell: Cell) -> float:
    runs = [run_of(cell.axes, seed) for seed in cell.seeds]
    return float(pd.Series([times[run] for run in runs if run in times], dtype=float).median())


def _how(run: "pd.Series[Any]") -> tuple[Any, ...]:
    """Under what a time was measured: the machine, and how many seeds shared it."""
    return tuple(run.get(name) for name in ("device", "replicas"))


def _trained_like(of_runs: Mapping[Run, "pd.Series[Any]"], cell: Cell | None) -> tuple[Any, ...] | None:
    """How most runs of a cell were trained; None where there are none."""
    runs = [run_of(cell.axes, seed) for seed in cell.seeds] if cell else []
    found = Counter(_how(of_runs[run]) for run in runs if run in of_runs)
    return found.most_common(1)[0][0] if found else None


def _epochs(runs: pd.DataFrame) -> "pd.Series[float]":
    return runs["settings"].map(lambda settings: float(json.loads(settings)["epochs"]))
