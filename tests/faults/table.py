"""The table of faults: what is done, what comes of it, and where that is tested.

A test of this folder claims an outcome, `@pytest.mark.fault("F01", "what is done", "recovered")`, and
asserts it; a fault may have several tests. What each outcome means stands in `INTRODUCTION`.
"""

import importlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "faults.md"

FAULTS = [f"F{number:02}" for number in range(1, 51)]
OUTCOMES = {
    "recovered": "recovered by itself",
    "resumed": "recovered when started again",
    "refused": "refused clearly",
    "failed": "silent or unclear",
}
"""From best to worst; a fault counts by the worst of its tests."""

INTRODUCTION = """# Faults

What machines, networks and files do to a long workflow, done on purpose by `make faults`, which writes
this page.

- *Recovered by itself*: the right result, and nobody had to do anything.
- *Recovered when started again*: it was killed, or stopped with an exit code other than 0, and nothing
  half-made counts as made. Once the cause is over the same call gives the right result, with no file to be
  mended before; of the training only the epoch that was not finished is done again.
- *Refused clearly*: an exit code other than 0, one sentence that names the thing, and nothing that counts as
  made. What is named has to be mended, or waited for.
- *Silent or unclear*: anything else.

A fault that has several tests counts by its worst.
"""


@dataclass(frozen=True, order=True)
class Case:
    """One test of a fault."""

    fault: str
    what: str
    outcome: str
    where: str
    """The test: `<file>::<function>`."""


def claimed() -> list[Case]:
    """What the tests of this folder claim."""
    cases = []
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name, value in vars(module).items():
            marks = getattr(value, "pytestmark", []) if name.startswith("test_") else []
            where = f"{path.name}::{name}"
            cases += [Case(*mark.args, where=where) for mark in marks if mark.name == "fault"]
    return cases


def counts(cases: Iterable[Case]) -> Counter[str]:
    """How many faults have each outcome."""
    order = list(OUTCOMES)
    worst: dict[str, str] = {}
    for case in cases:
        worst[case.fault] = max(worst.get(case.fault, order[0]), case.outcome, key=order.index)
    return Counter(worst.values())


def summary(cases: Sequence[Case]) -> str:
    """The three counts in words."""
    number = counts(cases)
    by_itself, again = number["recovered"], number["resumed"]
    recovered = f"recovered {by_itself + again} ({by_itself} by itself, {again} when started again)"
    others = (f"{OUTCOMES[outcome]} {number[outcome]}" for outcome in ("refused", "failed"))
    return ", ".join([recovered, *others])


def page(cases: Sequence[Case]) -> str:
    """The page of the documentation."""
    faults = len({case.fault for case in cases})
    rows = [
        f"| {case.fault} | {case.what} | {OUTCOMES[case.outcome]} | `{case.where.partition('::')[0]}` |"
        for case in sorted(cases)
    ]
    head = ["| fault | what is done | outcome | in tests/faults |", "| --- | --- | --- | --- |"]
    return "\n".join([INTRODUCTION, f"Of {faults} faults: {summary(cases)}.", "", *head, *rows, ""])
