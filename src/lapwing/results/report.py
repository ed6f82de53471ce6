"""One page with every artefact, ours beside the published, and where each number comes from."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from pydantic import Field

from lapwing import files
from lapwing.errors import UserError
from lapwing.results import layout, origins, tables
from lapwing.results.artefact import Artefact
from lapwing.schema import Closed, Name, validate
from lapwing.words import duration, many

VERSION = "version_"


class Shown(Closed):
    """An artefact of the report: its description and the files that were made for it."""

    name: Name
    description: Artefact
    table: dict[str, Path] = {}
    """Paths by kind: csv, md, tex."""
    figure: dict[str, Path] = {}
    """Paths by kind: png, pdf, svg."""
    html: Path | None = None
    """The executed notebook as a page."""
    studies: list[Name] = []
    """Those whose runs are behind it."""


class LeftOut(Closed):
    """An artefact that could not be made, and the one thing to do."""

    name: str
    why: str = Field(min_length=1)


def report(
    artefacts: Sequence[Mapping[str, Any]],
    runs: Sequence[Path],
    scale: str,
    settings: Mapping[str, Any],
    left_out: Sequence[Mapping[str, Any]],
    out: Path,
) -> None:
    """Write the report: one HTML page that opens offline.

    Args:
        artefacts: `{"name", "description", "table": {csv, md, tex}, "figure": {png, …}, "html", "studies"}`
            each.
        runs: `<study>_runs.parquet` of each study.
        scale: `demo`, `subset` or `paper`.
        settings: what `config.yaml` said, shown at the end.
        left_out: `{"name", "why"}` each.
        out: the page.

    Raises:
        UserError: a file is missing or not what it should be.
    """
    out = Path(out)
    shown = [validate(Shown, artefact, "report: artefact") for artefact in artefacts]
    missing = [validate(LeftOut, artefact, "report: left_out") for artefact in left_out]
    frames = {a.name: tables.read(a.table["csv"], a.description) for a in shown if "csv" in a.table}
    of_study = {Path(path).stem.removesuffix("_runs"): files.read_table(Path(path)) for path in runs}
    studies = [_study(name, table) for name, table in of_study.items()]
    page = layout.templates().get_template("report.html.j2").render(
        scale=scale,
        notice=layout.notice(scale),
        summary=_summary(shown, frames, studies),
        artefacts=[_artefact(artefact, frames.get(artefact.name), of_study, out) for artefact in shown],
        studies=studies,
        left_out=missing,
        settings={name: _written(value) for name, value in settings.items()},
    )  # fmt: skip
    files.write_text(out, page)


def _summary(shown: list[Shown], frames: Mapping[str, pd.DataFrame], studies: list[dict[str, Any]]) -> str:
    runs = sum(len(study["rows"]) for study in studies)
    seconds = sum(study["seconds"] for study in studies)
    made, ran = many(len(shown), "artefact"), many(runs, "run")
    sentences = [f"{made} from {ran}, {duration(seconds)} of training."]
    if counts := tables.verdicts(frames.values()):
        sentences.append(f"Verdicts, added up over the tables: {layout.counted(counts)}.")
    return " ".join(sentences)


def _artefact(
    artefact: Shown, frame: pd.DataFrame | None, runs: Mapping[str, pd.DataFrame], out: Path
) -> dict[str, Any]:
    described = artefact.description
    html = Markup(layout.to_html(layout.lay_out(frame, described))) if frame is not None else ""  # noqa: S704 - the template escapes
    image = _inlined(artefact.figure["png"]) if "png" in artefact.figure else None
    made = {**artefact.table, **artefact.figure} | ({"notebook": artefact.html} if artefact.html else {})
    links = [{"text": kind, "to": _relative(path, out)} for kind, path in made.items()]
    behind = [origins.of_artefact(runs[study], described) for study in artefact.studies]
    mixed = origins.mixed(pd.concat(behind)) if behind else ""
    head = {"name": artefact.name, "title": described.title}
    return head | {"mixed": mixed, "table": html, "image": image, "links": links}


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out.parent)).as_posix()


def _inlined(path: Path) -> str:
    """A PNG inside the page."""
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


# -- where the numbers come from ----------------------------------------------------------------------


def _study(name: str, runs: pd.DataFrame) -> dict[str, Any]:
    """The provenance of a study's runs: what they share, and a row for each."""
    runs = runs.replace(WORDS)
    seconds = float(runs["seconds"].sum()) if len(runs) else 0.0
    columns = [c for c in map(str, runs) if c not in _NOT_PER_RUN and not c.startswith(VERSION)]
    rows = [[_shown(value) for value in row] for row in runs[columns].itertuples(index=False)]
    titles = [column.replace("_", " ") for column in columns]
    return {"name": name, "seconds": seconds, "facts": _facts(runs), "columns": titles, "rows": rows}


_NOT_PER_RUN = ["study", "settings"]

FACTS = {
    "device": "Trained on",
    "machine": "Machine",
    "backend": "Seeds of a cell",
    "trained": "Trained",
    "git_commit": "Code",
}

WORDS = {
    "device": {"cpu": "CPU"},
    "backend": {"native": "stacked", "vmap": "stacked by vmap", "loop": "one by one"},
    "trained": {"now": "in this run"},
}
"""What a reader sees for the words of a run."""


def _facts(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """What a reader asks first: how many, how long, where, with what."""
    if runs.empty:
        return [("Runs", "none")]
    seconds = runs["seconds"]
    per_run = f"{duration(float(seconds.median()))} (median), {duration(float(seconds.max()))} at most"
    together = duration(float(seconds.sum()))
    facts = [("Runs", str(len(runs))), ("Time of a run", per_run), ("Time together", together)]
    versions = (name for name in map(str, runs) if name.startswith(VERSION))
    named = FACTS | {name: f"Version of {name.removeprefix(VERSION)}" for name in versions}
    facts += [(title, origins.counted(runs[name])) for name, title in named.items() if name in runs]
    if taken := origins.taken_over(runs):
        facts.append(("Taken over, trained", taken))
    diverged = runs[runs["diverged_epoch"].notna()]
    return facts + ([("Diverged", f"{len(diverged)}; left out of the tables")] if len(diverged) else [])


def _written(value: Any) -> str:
    """A setting as `config.yaml` would have it."""
    return value if isinstance(value, str) else files.canonical(value)


def _shown(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
