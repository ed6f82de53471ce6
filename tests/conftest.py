"""What all tests share: one thread each, and no test left out unnoticed."""

import os
from pathlib import Path

import pytest

from lapwing.corruption import corruptions
from lapwing.errors import UserError

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

ROOT = Path(__file__).parent.parent
MIRROR = ROOT.parent / "shared" / "data"
LEFT_OUT = "needs the local mirror of real data, which is not beside this checkout"


def corruptions_of_images() -> list[str]:
    """The corruptions that take images of ten classes, and leave it to the sources who gets which."""
    return [name for name in corruptions.names() if _takes_images(name)]


def _takes_images(name: str) -> bool:
    corruption = corruptions.get(name)
    try:
        corruption.check(corruption.Options(), (1, 12, 12), 10)
    except UserError:
        return False
    return corruption.deal is None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out tests on real data where there are none."""
    if not MIRROR.is_dir():
        for item in items:
            if item.get_closest_marker("real_data"):
                item.add_marker(pytest.mark.skip(reason=LEFT_OUT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out, and why."""
    left_out = terminalreporter.stats.get("skipped", [])
    if left_out:
        reasons = sorted({report.longrepr[2].removeprefix("Skipped: ") for report in left_out})
        terminalreporter.write_line(f"{len(left_out)} tests were left out: {'; '.join(reasons)}.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that is left out is a failure, save where it says that it may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left_out = reporter.stats.get("skipped", []) if reporter else []
    unexcused = [report for report in left_out if "may_be_left_out" not in report.keywords]
    if os.environ.get("CI") == "true" and unexcused and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def mirror() -> Path:
    """The local mirror of real data."""
    return MIRROR
