"""The page of faults is what the tests claim, and nothing is silent."""

from tests.faults.table import FAULTS, OUTCOMES, PAGE, Case, claimed, counts, page, summary


def test_every_fault_is_tested() -> None:
    cases = claimed()
    assert sorted({case.fault for case in cases}) == FAULTS
    assert {case.outcome for case in cases} == {"recovered", "resumed", "refused"}


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(claimed()), "make faults writes it anew"


def test_fault_counts_by_the_worst_of_its_tests() -> None:
    cases = [Case("F01", "", outcome, f"{number}") for number, outcome in enumerate(OUTCOMES)]
    assert counts(cases) == {"failed": 1}
    assert counts(cases[:2]) == {"resumed": 1}
    assert counts([cases[0], Case("F02", "", "recovered", "")]) == {"recovered": 2}


def test_summary_gives_three_counts_and_says_the_first_apart() -> None:
    outcomes = ["recovered", "resumed", "resumed", "refused"]
    cases = [Case(f"F{number:02}", "", outcome, "") for number, outcome in enumerate(outcomes)]
    said = "recovered 3 (1 by itself, 2 when started again), refused clearly 1, silent or unclear 0"
    assert summary(cases) == said
