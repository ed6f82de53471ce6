"""A table's numbers as a reader sees them: one layout, and Markdown, LaTeX and HTML made from it."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import jinja2
import pandas as pd

from lapwing.results.artefact import Artefact
from lapwing.results.published import title_of
from lapwing.results.statistics import Verdict

STAND_IN = (
    "Demo scale: stand-in data, no reproduction; the published column is for orientation, "
    "and there is no verdict."
)
"""The first line of everything that is made at demo scale."""

VERDICTS = (
    "Reproduced: two one-sided tests at 5 % place the difference within one published standard deviation "
    "(for accuracies at least one point). Differs: its whole 95 % interval is beyond. "
    "Not decided: too few runs to tell."
)

METRICS = {"top_1": "top-1 accuracy", "top_2": "top-2 accuracy", "top_5": "top-5 accuracy"}
UNITS = {"percent": " (%)", "mse": " (mean squared error)", "loss": " (loss)"}
READINGS = {"last": "last epoch", "best": "best epoch"}


def notice(scale: str, artefact: Artefact | None = None) -> str:
    """What must stand first at this scale; empty where nothing needs saying.

    The titles name the published datasets: it says which data of ours stand in for which.
    """
    if scale != "demo":
        return ""
    stand_in = artefact.published.stand_in if artefact and artefact.published else {}
    pairs = ", ".join(f"{ours.replace('_', ' ')} for {title_of(theirs)}" for ours, theirs in stand_in.items())
    return f"{STAND_IN} Stand-in: {pairs}." if pairs else STAND_IN


@dataclass(frozen=True)
class Entry:
    """The text of one place of a table."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a row: ours by a reading, the published, the difference, or the verdict."""

    kind: str
    label: str
    entries: list[Entry]


@dataclass(frozen=True)
class Block:
    """One row of the published table: the values of its axes, and its lines."""

    head: list[str]
    lines: list[Line]


@dataclass(frozen=True)
class Layout:
    """A table ready to be written."""

    title: str
    notice: str
    row_axes: list[str]
    columns: list[str]
    blocks: list[Block]
    difference_columns: list[str] = field(default_factory=list)
    differences: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# -- from numbers to words -----------------------------------------------------------------------------


def lay_out(frame: pd.DataFrame, artefact: Artefact) -> Layout:
    """Lay a table's frame out as published: rows by columns, ours above the published."""
    values = frame[frame["quantity"] == "value"]
    columns = list(dict.fromkeys(values[artefact.columns]))
    scale = str(frame["scale"].iloc[0]) if len(frame) else ""
    blocks = [
        _block(block, artefact, columns, scale)
        for _, block in values.groupby(list(artefact.rows), sort=False, dropna=False)
    ]
    differences = frame[frame["quantity"] == "paired_difference"]
    return Layout(
        title=artefact.title,
        notice=notice(scale, artefact),
        row_axes=[title_of(axis) for axis in artefact.rows],
        columns=[_column_title(values, artefact, column) for column in columns],
        blocks=blocks,
        difference_columns=_difference_columns(differences, artefact, scale),
        differences=[_difference(row, artefact, scale) for row in _records(differences)],
        notes=_notes(values, differences, artefact, scale),
    )


def _column_title(values: pd.DataFrame, artefact: Artefact, column: str) -> str:
    status = values.loc[values[artefact.columns] == column, "status"]
    only = " (published only)" if (status == "published only").all() else ""
    return title_of(column) + only


def _block(block: pd.DataFrame, artefact: Artefact, columns: list[str], scale: str) -> Block:
    first = artefact.readings[0]
    rows = {(row[artefact.columns], row["reading"]): row for row in _records(block)}
    lines = []
    for reading in artefact.readings:
        label = "ours" if len(artefact.readings) == 1 else f"ours, {_reading(reading)}"
        entries = [_ours(rows.get((column, reading)), artefact.decimals) for column in columns]
        lines.append(Line("ours", label, entries))
    main = [rows[column, first] for column in columns]
    if artefact.published and any(_known(row["published_mean"]) for row in main):
        lines += _published_lines(main, artefact.decimals, scale)
    return Block([title_of(block[axis].iloc[0]) for axis in artefact.rows], lines)


def _published_lines(main: list[dict[str, Any]], decimals: int, scale: str) -> list[Line]:
    theirs = [
        Entry(_plus_minus(row["published_mean"], row["published_std"], decimals), bool(row["published_bold"]))
        for row in main
    ]
    lines = [Line("published", "published", theirs)]
    if scale == "demo" or not any(_text(row["verdict"]) for row in main):
        return lines
    intervals = [Entry(_interval(row, decimals)) for row in main]
    verdicts = [Entry(_text(row["verdict"])) for row in main]
    return [*lines, Line("difference", "ours − published", intervals), Line("verdict", "verdict", verdicts)]


def _ours(row: dict[str, Any] | None, decimals: int) -> Entry:
    if row is None or row["status"] == "published only":
        return Entry("")
    if row["status"] != "run":
        return Entry(row["status"])
    few = f" ({int(row['n'])} of {int(row['asked'])} runs)" if row["n"] < row["asked"] else ""
    return Entry(_plus_minus(row["mean"], row["std"], decimals) + few, bool(row["bold"]))


def _interval(row: dict[str, Any], decimals: int) -> str:
    if not _known(row["difference"]):
        return ""
    difference = _signed(row["difference"], decimals)
    if not _known(row["low"]):
        return difference
    return f"{difference} [{_signed(row['low'], decimals)}, {_signed(row['high'], decimals)}]"


def _difference_columns(differences: pd.DataFrame, artefact: Artefact, scale: str) -> list[str]:
    if differences.empty:
        return []
    names = [*map(title_of, artefact.rows), "Difference", "Ours", "Published"]
    return names if scale == "demo" else [*names, "Ours − published, in standard errors"]


def _difference(row: dict[str, Any], artefact: Artefact, scale: str) -> list[str]:
    decimals = artefact.decimals
    head = [title_of(row[axis]) for axis in artefact.rows]
    name = f"{title_of(row[artefact.columns])} − {title_of(row['against'])}"
    ours = _with_error(row["mean"], row["std"], row["n"], decimals) if row["n"] else "not run"
    theirs = _with_error(row["published_mean"], row["published_std"], row["published_n"], decimals)
    cells = [*head, name, ours, theirs]
    return cells if scale == "demo" else [*cells, _standard_errors(row["standard_errors"])]


def _standard_errors(value: Any) -> str:
    if not _known(value):
        return ""
    return _signed(value, 1) if math.isfinite(value) else "no spread on either side"


def _notes(values: pd.DataFrame, differences: pd.DataFrame, artefact: Artefact, scale: str) -> list[str]:
    first = values[values["reading"] == artefact.readings[0]]
    notes = [_what_is_shown(first, artefact)]
    if len(differences):
        notes.append("Differences: within a seed, then mean ± standard error (number of seeds).")
    return notes + (_conclusions(first, differences, artefact) if scale != "demo" else [])


def _what_is_shown(first: pd.DataFrame, artefact: Artefact) -> str:
    """Metric, reading, spread and number of runs, in two or three sentences."""
    metrics = first[["metric", "unit"]].drop_duplicates().itertuples(index=False)
    shown = ", ".join((METRICS.get(name) or title_of(name).lower()) + UNITS[unit] for name, unit in metrics)
    if {"top_1", "top_5"} <= set(first["metric"]):
        top_5 = first.loc[first["metric"] == "top_5", artefact.rows[0]].unique()
        shown += f" ({', '.join(map(title_of, top_5))}: top-5)"
    ran = first.loc[first["status"] == "run", "n"]
    low, high = (int(ran.min()), int(ran.max())) if len(ran) else (0, 0)
    counted = f"{low}" if low == high else f"{low} to {high}"
    diverged = int(first["diverged"].sum())
    lost = f" Diverged and left out: {diverged}." if diverged else ""
    chosen = " (chosen on that set)" if artefact.readings[0] == "best" else ""
    read = f"{_reading(artefact.readings[0])}{chosen}, mean ± sample standard deviation"
    return f"{shown[0].upper()}{shown[1:]} on the test set, {read}; runs of a cell: {counted}.{lost}"


def _conclusions(first: pd.DataFrame, differences: pd.DataFrame, artefact: Artefact) -> list[str]:
    """What the comparison comes to, in sentences."""
    said = []
    given = first["verdict"].dropna()
    if len(given := given[given != ""]):
        said.append(f"Verdicts: {counted(Counter(map(str, given)))}. {VERDICTS}")
    agrees = first.drop_duplicates(list(artefact.rows))["ordering_agrees"].dropna()
    if len(agrees):
        same = int(agrees.astype(bool).sum())
        said.append(f"The methods stand in the published order in {same} of {len(agrees)} rows.")
    errors = differences["standard_errors"].astype(float).dropna().abs()
    if len(errors):
        within, beyond = int((errors <= 2).sum()), int((errors > 3).sum())
        said.append(
            f"Differences within a seed: {within} of {len(errors)} rows are within two combined "
            f"standard errors of the published, {beyond} beyond three."
        )
    return said


def counted(verdicts: Mapping[str, int]) -> str:
    """Verdicts and how often each was given, in the order in which a reader wants them."""
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in get_args(Verdict) if verdict in verdicts)


def _reading(reading: str) -> str:
    return READINGS.get(reading) or f"mean of the last {reading.removeprefix('mean_last_')} epochs"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _plus_minus(mean: Any, spread: Any, decimals: int) -> str:
    if not _known(mean):
        return ""
    return f"{mean:.{decimals}f}" + (f" ± {spread:.{decimals}f}" if _known(spread) else "")


def _with_error(mean: Any, std: Any, n: Any, decimals: int) -> str:
    if not _known(mean):
        return ""
    error = std / math.sqrt(n) if _known(std) else math.nan
    spread = f" ± {error:.{decimals}f}" if _known(error) else ""
    return f"{_signed(mean, decimals)}{spread} ({int(n)})"


def _signed(value: float, decimals: int) -> str:
    rounded = round(value, decimals) + 0.0  # no minus zero
    return f"{rounded:+.{decimals}f}".replace("-", "−") if rounded else f"{0:.{decimals}f}"


def _known(value: Any) -> bool:
    return not pd.isna(value)


def _text(value: Any) -> str:
    return str(value) if _known(value) else ""


# -- Markdown ------------------------------------------------------------------------------------------


def to_markdown(table: Layout) -> str:
    """Write a table in Markdown."""
    head = [*table.row_axes, "", *table.columns]
    body = [
        [*head_of_line, line.label, *map(_markdown_entry, line.entries)]
        for block in table.blocks
        for head_of_line, line in _with_heads(block.head, block.lines)
    ]
    parts = [table.notice] if table.notice else []
    parts += [f"# {_markdown(table.title)}", _markdown_grid(head, body)]
    if table.differences:
        parts.append(_markdown_grid(table.difference_columns, table.differences))
    return "\n\n".join([*parts, *map(_markdown, table.notes)]) + "\n"


def _with_heads(head: list[str], lines: list[Line]) -> list[tuple[list[str], Line]]:
    """Each line with what stands left of it: the row's head beside the first, nothing below."""
    return [(head if number == 0 else [""] * len(head), line) for number, line in enumerate(lines)]


def _markdown_entry(entry: Entry) -> str:
    return f"**{entry.text}**" if entry.bold else entry.text


def _markdown_grid(head: list[str], body: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(map(_markdown_cell, row))} |" for row in rows)


def _markdown_cell(text: str) -> str:
    return _markdown(text).replace("|", "\\|")


def _markdown(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


# -- LaTeX ---------------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "\n": " ",
}


def to_latex(table: Layout) -> str:
    """Write a table in LaTeX: booktabs, values only; the notes carry the comparison."""
    head = [*table.row_axes, "", *table.columns]
    body = [_latex_block(block) for block in table.blocks]
    caption = " ".join([table.notice, f"{table.title}.", *table.notes]).strip()
    lines = [f"% {_latex(table.notice)}"] if table.notice else []
    lines += [r"\begin{table}", r"\centering", f"\\caption{{{_latex(caption)}}}"]
    lines += [_tabular(len(table.row_axes) + 1, head, body)]
    if table.differences:
        rows = [_latex_row(row) for row in table.differences]
        lines += ["", r"\medskip", "", _tabular(len(table.row_axes), table.difference_columns, rows)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tabular(left: int, head: list[str], body: list[str]) -> str:
    columns = "l" * left + "r" * (len(head) - left)
    begin = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(head), r"\midrule"]
    return "\n".join([*begin, *body, r"\bottomrule", r"\end{tabular}"])


def _latex_block(block: Block) -> str:
    shown = [line for line in block.lines if line.kind in ("ours", "published")]
    rows = []
    for head, line in _with_heads(block.head, shown):
        entries = [f"\\textbf{{{_latex(e.text)}}}" if e.bold else _latex(e.text) for e in line.entries]
        rows.append(" & ".join([*map(_latex, head), _latex(line.label), *entries]) + r" \\")
    return "\n".join(rows)


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


# -- HTML ----------------------------------------------------------------------------------------------


def templates() -> jinja2.Environment:
    """The templates of the package; everything that is put into them is escaped."""
    loader = jinja2.PackageLoader("lapwing.results", ".")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def to_html(table: Layout) -> str:
    """Write a table as a fragment of HTML that needs nothing from elsewhere."""
    return templates().get_template("table.html.j2").render(table=table)
