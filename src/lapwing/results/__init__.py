"""From runs to tables, figures and a report, beside the published values; imports no torch."""

RESULTS_VERSION = 4
"""Raised when tables, verdicts or figures change: they and the report are then made anew."""
