"""From runs to tables, figures and a report, beside the published values; imports no torch."""
