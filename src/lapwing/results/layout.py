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

NOTICES = {
    "demo": "Demo scale: stand-in data, no reproduction",
    "subset": "Subset scale: a subset, not a reproduction (fewer data and epochs, smaller networks)",
}
"""So begins the first line of everything that is made at a scale that is not the published one."""
ORIENTATION = "; published values are for orientation, and there is no verdict"

VERDICTS = (
    "Reproduced: two one-sided tests at 5 % place the difference within one published standard deviation "
    "(for accuracies at least one point). Differs: its whole 95 % interval is beyond. "
    "Not decided: too few runs to tell. Not comparable: stand-in data, or published under something else."
)

METRICS = {
    "top_1": "top-1 accuracy",
    "top_2": "top-2 accuracy",
    "top_5": "top-5 accuracy",
    "auc": "AUC",
    "auc_pr": "AUC PR",
    "auc_pr_softmax": "AUC PR of probabilities",
    "f1": "F1 score",
    "objective": "loss after weighting",
}
UNITS = {"percent": " (%)", "share": "", "mse": " (mean squared error)", "loss": " (cross-entropy)"}
READINGS = {
    "last": "last epoch",
    "best": "best epoch",
    "worst": "worst epoch",
    "validation": "epoch chosen on validation data",
}
SOURCE_AUC = (
    "Ranking of the sources at the end of training: the probability that a corrupt source ranks above a "
    "clean one (AUC; 0.5: by chance, 1: always), by the unreliability that the method counted, else by the "
    "mean training loss in the last epoch"
)
POOLED = (
    "Pooled epochs: the deviation is that of all these epochs of all runs at once; verdicts and differences "
    "within a seed are those of the means of the runs."
)
LOST = "Diverged and left out"
LOST_CHANGES = "Changes left out, since the run or that of standard diverged"
FOOTER = {
    "mean_rank": "mean rank",
    "cost_of_run": "time of a run, standard = 1",
    "cost_of_epoch": "time of an epoch, standard = 1",
}
"""Quantities of the lines below a table."""


def is_reproduction(scale: str) -> bool:
    """Whether what is made at a scale is set against the published values with a verdict."""
    return scale not in NOTICES


def notice(scale: str, artefact: Artefact | None = None) -> str:
    """What must stand first at this scale; empty where nothing needs saying.

    The titles name the published datasets: it says which data of ours stand in for which.
    """
    if is_reproduction(scale):
        return ""
    said = NOTICES[scale] + ("" if artefact and artefact.published is None else ORIENTATION)
    stand_in = artefact.stand_in.items() if artefact else ()
    pairs = ", ".join(f"{title_of(ours)} for {title_of(theirs)}" for ours, theirs in stand_in)
    return f"{said}. Stand-in: {pairs}." if pairs else f"{said}."


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
    footer: list[Block] = field(default_factory=list)
    """What is said of whole columns, below all rows."""


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
        notes=_notes(values, differences, artefact, scale) + _footer_notes(frame),
        footer=_footer(frame[frame["quantity"].isin(FOOTER)], artefact, columns),
    )


def _column_title(values: pd.DataFrame, artefact: Artefact, column: str) -> str:
    status = values.loc[values[artefact.columns] == column, "status"]
    only = " (published only)" if (status == "published only").all() else ""
    return _heading(artefact.columns, column) + only


def _heading(axis: str, column: str) -> str:
    """A number alone says nothing: its axis stands before it."""
    is_number = column.replace(".", "", 1).isdigit()
    return f"{title_of(axis)}: {column}" if is_number else title_of(column)


def _block(block: pd.DataFrame, artefact: Artefact, columns: list[str], scale: str) -> Block:
    rows = {(row[artefact.columns], row["reading"]): row for row in _records(block)}
    by_reading = {r: [rows.get((column, r)) for column in columns] for r in artefact.readings}
    lines = []
    for reading, row in by_reading.items():
        label = "ours" if len(by_reading) == 1 else f"ours, {reading_in_words(reading)}"
        lines.append(Line("ours", label, [_ours(place, artefact.decimals) for place in row]))
    beside = {r: row for r, row in by_reading.items() if any(_is_published(place) for place in row)}
    for reading, row in beside.items() if artefact.published else ():
        of = f", {reading_in_words(reading)}" if len(beside) > 1 else ""
        lines += _published_lines([place or {} for place in row], artefact.decimals, scale, of)
    return Block([title_of(block[axis].iloc[0]) for axis in artefact.rows], lines)


def _is_published(place: dict[str, Any] | None) -> bool:
    return place is not None and _known(place["published_mean"])


def _published_lines(row: list[dict[str, Any]], decimals: int, scale: str, of: str) -> list[Line]:
    theirs = [
        Entry(_plus_minus(p["published_mean"], p["published_std"], decimals), bool(p["published_bold"]))
        if p
        else Entry("")
        for p in row
    ]
    lines = [Line("published", f"published{of}", theirs)]
    if not is_reproduction(scale) or not any(_text(place.get("verdict")) for place in row):
        return lines
    intervals = [Entry(_interval(place, decimals)) for place in row]
    verdicts = [Entry(_text(place.get("verdict"))) for place in row]
    names = f"ours − published{of}", f"verdict{of}"
    return [*lines, Line("difference", names[0], intervals), Line("verdict", names[1], verdicts)]


def _ours(row: dict[str, Any] | None, decimals: int) -> Entry:
    if row is None or row["status"] in ("published only", "has none"):
        return Entry("")
    if row["status"] != "run":
        return Entry(row["status"])
    few = f" ({int(row['n'])} of {int(row['asked'])} runs)" if row["n"] < row["asked"] else ""
    return Entry(_plus_minus(row["mean"], row["std"], decimals) + few, bool(row["bold"]))


def _interval(row: dict[str, Any], decimals: int) -> str:
    if not _known(row.get("difference")):
        return ""
    difference = _signed(row["difference"], decimals)
    if not _known(row["low"]):
        return difference
    return f"{difference} [{_signed(row['low'], decimals)}, {_signed(row['high'], decimals)}]"


def _difference_columns(differences: pd.DataFrame, artefact: Artefact, scale: str) -> list[str]:
    if differences.empty:
        return []
    names = [*map(title_of, artefact.rows), "Difference", "Ours"]
    if artefact.published is None:
        return names
    beside = [*names, "Published"]
    return [*beside, "Ours − published, in standard errors"] if is_reproduction(scale) else beside


def _difference(row: dict[str, Any], artefact: Artefact, scale: str) -> list[str]:
    decimals = artefact.decimals
    head = [title_of(row[axis]) for axis in artefact.rows]
    name = f"{title_of(row[artefact.columns])} − {title_of(row['against'])}"
    ours = _with_error(row["mean"], row["std"], row["n"], decimals) if row["n"] else row["status"]
    if artefact.published is None:
        return [*head, name, ours]
    theirs = _with_error(row["published_mean"], row["published_std"], row["published_n"], decimals)
    cells = [*head, name, ours, theirs]
    return [*cells, _standard_errors(row["standard_errors"])] if is_reproduction(scale) else cells


def _standard_errors(value: Any) -> str:
    if not _known(value):
        return ""
    return _signed(value, 1) if math.isfinite(value) else "no spread on either side"


def _notes(values: pd.DataFrame, differences: pd.DataFrame, artefact: Artefact, scale: str) -> list[str]:
    first = values[values["reading"] == artefact.readings[0]]
    notes = [_what_is_shown(first, artefact)]
    if any(reading.startswith("pooled_") for reading in artefact.readings):
        notes.append(POOLED)
    if "validation" in artefact.readings:
        notes.append("Validation data: what the split leaves aside, corrupted as the training data are.")
    if len(differences):
        notes.append("Differences: within a seed, then mean ± standard error (number of seeds).")
    notes += artefact.remarks
    return notes + (_conclusions(values, differences, artefact) if is_reproduction(scale) else [])


def _what_is_shown(first: pd.DataFrame, artefact: Artefact) -> str:
    """Metric, reading, spread and number of runs, in two or three sentences."""
    ran = first.loc[first["status"] == "run", "n"]
    low, high = (int(ran.min()), int(ran.max())) if len(ran) else (0, 0)
    counted = f"{low}" if low == high else f"{low} to {high}"
    diverged = int(first["diverged"].sum())
    words = LOST_CHANGES if artefact.shows == "relative_change" else LOST
    lost = f" {words}: {diverged}." if diverged else ""
    what = SOURCE_AUC if artefact.shows == "source_auc" else _what_is_read(first, artefact)
    return f"{what}; mean ± sample standard deviation; runs of a cell: {counted}.{lost}"


def _what_is_read(first: pd.DataFrame, artefact: Artefact) -> str:
    reading = artefact.readings[0]
    metrics = first[["metric", "unit"]].drop_duplicates().itertuples(index=False)
    shown = ", ".join(metric_in_words(name) + UNITS[unit] for name, unit in metrics)
    is_top_5 = first["metric"].str.startswith("top_5")
    if is_top_5.any() and not is_top_5.all():
        top_5 = first.loc[is_top_5, artefact.rows[0]].unique()
        shown += f" ({', '.join(map(title_of, top_5))}: top-5)"
    chosen = " (chosen on that set)" if reading in ("best", "worst") else ""
    return f"{shown[0].upper()}{shown[1:]} on the test set, {reading_in_words(reading)}{chosen}"


def metric_in_words(name: str) -> str:
    """A metric inside a sentence, without its unit."""
    if name.endswith("_rel_change"):
        return f"change of {metric_in_words(name.removesuffix('_rel_change'))}, relative to standard"
    base, _, group = name.partition("_of_")
    words = METRICS.get(base) or title_of(base).lower()
    return f"{words} on the {title_of(group).lower()} classes" if group else words


def _conclusions(values: pd.DataFrame, differences: pd.DataFrame, artefact: Artefact) -> list[str]:
    """What the comparison comes to, in sentences."""
    first = values[values["reading"] == artefact.readings[0]]
    said = []
    given = first["verdict"].dropna()
    if len(given := given[given != ""]):
        by = f" ({reading_in_words(artefact.readings[0])})" if len(artefact.readings) > 1 else ""
        said.append(f"Verdicts{by}: {counted(Counter(map(str, given)))}. {VERDICTS}")
        cases = artefact.published.not_comparable if artefact.published else ()
        said += [f"Not comparable: {case.why}" for case in cases]
    agrees = first.drop_duplicates(list(artefact.rows))["ordering_agrees"].dropna()
    if len(agrees):
        same = int(agrees.astype(bool).sum())
        noun = "methods" if artefact.columns == "method" else "columns"
        said.append(f"The {noun} stand in the published order in {same} of {len(agrees)} rows.")
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


def reading_in_words(reading: str) -> str:
    """A reading inside a sentence."""
    if reading.startswith("pooled_last_"):
        return f"last {reading.removeprefix('pooled_last_')} epochs of all runs, pooled"
    return READINGS.get(reading) or f"mean of the last {reading.removeprefix('mean_last_')} epochs"


def _footer(rows: pd.DataFrame, artefact: Artefact, columns: list[str]) -> list[Block]:
    """A block per group of rows: its mean ranks, and its costs."""
    blocks = []
    for group, in_group in rows.groupby(artefact.rows[0], sort=False, dropna=False):
        lines = []
        for quantity, of_quantity in in_group.groupby("quantity", sort=False):
            places = {place[artefact.columns]: place for place in _records(of_quantity)}
            entries = [_footer_entry(places.get(column)) for column in columns]
            of = f" over {int(of_quantity['n'].iloc[0])} rows" if quantity == "mean_rank" else ""
            lines.append(Line("footer", FOOTER[str(quantity)] + of, entries))
        head = title_of(group) if len(artefact.rows) > 1 else "All rows"
        blocks.append(Block([head, *[""] * (len(artefact.rows) - 1)], lines))
    return blocks


def _footer_entry(place: dict[str, Any] | None) -> Entry:
    known = place is not None and _known(place["mean"])
    return Entry(f"{place['mean']:.2f}", bool(place["bold"])) if place and known else Entry("")


def _footer_notes(frame: pd.DataFrame) -> list[str]:
    there = set(frame["quantity"])
    notes = []
    if "mean_rank" in there:
        notes.append(
            "Mean rank: over the rows in which all methods were run, 1 the best; ties share their mean."
        )
    if "cost_of_run" in there:
        notes.append(
            "Times: the median over the seeds of a row, relative to standard in that row; then the median "
            "over the rows. Runs that were trained together share their time evenly; only runs count of "
            "which as many were trained together as of standard, on the same device. It is wall-clock time, "
            "whatever else the machine did; benchmarks/methods.py measures it properly."
        )
    return notes


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _plus_minus(mean: Any, spread: Any, decimals: int) -> str:
    if not _known(mean):
        return ""
    return f"{mean:.{decimals}f}".replace("-", "−") + (f" ± {spread:.{decimals}f}" if _known(spread) else "")


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
        for block in [*table.blocks, *table.footer]
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
    body += [f"\\midrule\n{_latex_block(block)}" for block in table.footer]
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
    shown = [line for line in block.lines if line.kind in ("ours", "published", "footer")]
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
