"""Where the runs behind an artefact were trained, in words: on which machines, with which versions."""

import pandas as pd

from lapwing.results.artefact import Artefact

UNRECORDED = "not recorded"


def of_artefact(runs: pd.DataFrame, artefact: Artefact) -> pd.DataFrame:
    """The runs whose cells an artefact shows."""
    rows = (dict(zip(map(str, runs), row, strict=True)) for row in runs.itertuples(index=False, name=None))
    return runs[[artefact.has(row) for row in rows]]


def told(runs: pd.DataFrame) -> str:
    """Machines, versions and what was taken over, counted, as Markdown.

    Args:
        runs: a row for each, as `collect.aggregate` writes them.
    """
    facts = {"Machine": counted(column(runs, "machine")), "Versions": counted(column(runs, "lock"))}
    if taken := taken_over(runs):
        facts["Taken over, trained"] = taken
    lines = [f"- {title}: {text}" for title, text in facts.items()]
    return "\n\n".join(filter(None, [mixed(runs), "\n".join(lines)]))


def mixed(runs: pd.DataFrame) -> str:
    """A sentence where the runs come from several machines or versions; empty where they do not."""
    several = {"machine": "on several machines", "lock": "with several versions"}
    said = [
        f"{words}: {counted(values)}"
        for name, words in several.items()
        if (values := column(runs, name)).fillna(UNRECORDED).nunique() > 1
    ]
    return f"Its runs were trained {'; '.join(said)}." if said else ""


def taken_over(runs: pd.DataFrame) -> str:
    """How the finished runs that were taken over from elsewhere were trained; empty where there are none."""
    elsewhere = column(runs, "elsewhere").dropna().astype(str).value_counts()
    return ", ".join(f"{words} ({number})" for words, number in elsewhere.items())


def column(runs: pd.DataFrame, name: str) -> "pd.Series[str]":
    """What each run says; nothing where none says it."""
    return runs[name] if name in runs else pd.Series([None] * len(runs), dtype=object)


def counted(values: "pd.Series[str]") -> str:
    """The values that there are; with their numbers where there are several."""
    counts = values.fillna(UNRECORDED).astype(str).value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return ", ".join(f"{value} ({count})" for value, count in counts.items())
