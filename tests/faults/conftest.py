"""The fixtures of faults, and their table: where all of them were tested it is printed and written."""

import signal
from dataclasses import replace

import pytest

from tests.datasets.conftest import server
from tests.faults.jobs import job, undisturbed
from tests.faults.table import FAULTS, PAGE, Case, claimed, page, summary
from tests.faults.workflows import untrained
from tests.results.conftest import made_up
from tests.workflow.conftest import finished, made, project
from tests.workflow.slurm.cluster import slurm

__all__ = ["finished", "job", "made", "made_up", "project", "server", "slurm", "undisturbed", "untrained"]

KINDS = ("passed", "failed", "error", "skipped")


def pytest_configure() -> None:
    """Have what tests start end at Ctrl-C; a shell that starts them in the background has all ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each report say which test it is of, also where a worker process made it."""
    for item in items:
        if item.get_closest_marker("fault"):
            where = f"{item.path.name}::{item.nodeid.partition('::')[2].partition('[')[0]}"
            item.user_properties.append(("fault", where))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, if every test of every fault ran; else what was left out, if any ran."""
    stats = terminalreporter.stats
    passed, failed, errors, skipped = ({_where(report) for report in stats.get(kind, [])} for kind in KINDS)
    failed |= errors
    cases = claimed()
    tests = {case.where for case in cases}
    left_out = tests - ((passed | failed) - skipped)
    if left_out:
        if tests & (passed | failed):
            number = f"{len(left_out)} of {len(tests)} tests of faults did not run"
            terminalreporter.write_line(f"docs/faults.md was not written: {number} (make faults runs all)")
        return
    found = [replace(case, outcome="failed") if case.where in failed else case for case in cases]
    for case in sorted(found):
        terminalreporter.write_line(_line(case))
    terminalreporter.write_line(f"{len(FAULTS)} faults: {summary(found)}")
    PAGE.write_text(page(found), encoding="utf-8")


def _where(report: pytest.TestReport) -> str | None:
    return dict(report.user_properties).get("fault")


def _line(case: Case) -> str:
    return f"{case.fault}  {case.outcome:9}  {case.what}  ({case.where})"
