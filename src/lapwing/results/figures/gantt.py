"""When each job worked: a bar for each, in as many rows as jobs of its stage worked at once."""

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lapwing.results.figures.style import style
from lapwing.summary import STAGES, Job

PALETTE = ("#7f7f7f", "#b8a100", "#8c6bb1", "#31688e", "#e0529c", "#e08214", "#35b779", "#440154")
COLOURS = dict(zip(STAGES, PALETTE, strict=True))
OTHER, NOT_DONE = "#000000", "#cc2200"
WIDTH, TALLEST = 9.0, 9.0
"""Inches of the picture."""
AROUND, ROW = 0.8, 0.17
"""Inches beside the rows, and of a row where there is room for it."""
LETTER = 0.062
"""Inches of a letter, about."""
THINNEST = 1 / 800
"""The share of the width that the shortest bar has."""
UNITS = {"seconds": (1, 180), "minutes": (60, 3 * 3600), "hours": (3600, float("inf"))}
"""How many seconds each has, and up to how many it is used."""


def gantt(jobs: Sequence[Job]) -> Figure:
    """Draw the jobs of one start of the workflow: time to the right, the stages from top to bottom."""
    span = max(max(job.ended for job in jobs), 1.0)
    unit, length = next((name, length) for name, (length, most) in UNITS.items() if span < most)
    rows = _rows([replace(job, begun=job.begun / length, seconds=job.seconds / length) for job in jobs])
    span /= length
    height = min(TALLEST, AROUND + ROW * (rows[-1].place + 1))
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.add_subplot(xlim=(0, 1.01 * span), ylim=(rows[-1].place + 0.75, -0.75))
        for row in rows:
            _draw_row(axes, row, span)
            if height < TALLEST:
                _name_jobs(axes, row, inches=0.85 * WIDTH / span)
        _mark_not_done(axes, rows)
        _name_stages(axes, rows)
        axes.set_xlabel(f"{unit} since the start")
    return figure


class _Row(NamedTuple):
    """Jobs of a stage that followed one another."""

    stage: str
    place: float
    """From the top, in rows."""
    jobs: list[Job]


def _rows(jobs: Sequence[Job]) -> list[_Row]:
    """The jobs in few rows; between stages half a row is left free."""
    rows: list[_Row] = []
    for number, stage in enumerate(dict.fromkeys(job.stage for job in jobs)):
        packed = _packed([job for job in jobs if job.stage == stage])
        rows += [_Row(stage, len(rows) + place + number / 2, own) for place, own in enumerate(packed)]
    return rows


def _packed(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in as few rows as there are of them at work at once."""
    rows: list[list[Job]] = []
    free: list[tuple[float, int]] = []  # when the last job of a row ends
    for job in sorted(jobs, key=lambda job: job.begun):
        if free and free[0][0] <= job.begun:
            _, number = heapq.heappop(free)
        else:
            number = len(rows)
            rows.append([])
        rows[number].append(job)
        heapq.heappush(free, (job.ended, number))
    return rows


def _draw_row(axes: Axes, row: _Row, span: float) -> None:
    """A bar for each job; what was cached took no time, and is hollow."""
    colour = COLOURS.get(row.stage, OTHER)
    axes.broken_barh(
        [(job.begun, max(job.seconds, span * THINNEST)) for job in row.jobs],
        (row.place - 0.4, 0.8),
        facecolors=["white" if job.state == "cached" else colour for job in row.jobs],
        edgecolors=[colour if job.state == "cached" else "white" for job in row.jobs],
        linewidth=0.3,
    )


def _name_jobs(axes: Axes, row: _Row, inches: float) -> None:
    """The names of jobs whose bars have room for them."""
    for job in row.jobs:
        if LETTER * len(job.name) < job.seconds * inches:
            middle = job.begun + job.seconds / 2
            axes.text(middle, row.place, job.name, color="white", size=6, ha="center", va="center_baseline")


def _mark_not_done(axes: Axes, rows: Sequence[_Row]) -> None:
    """A cross where a job ended that is not done."""
    ends = [(job.ended, row.place) for row in rows for job in row.jobs if job.not_done]
    if ends:
        crosses = axes.plot(*zip(*ends, strict=True), "X", color=NOT_DONE, label="not done", clip_on=False)
        crosses[0].set(markersize=6, markeredgewidth=0.4, markeredgecolor="white")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)


def _name_stages(axes: Axes, rows: Sequence[_Row]) -> None:
    """The name of each stage in the middle of its rows."""
    places = {
        stage: [row.place for row in rows if row.stage == stage] for stage in (row.stage for row in rows)
    }
    axes.set_yticks([sum(own) / len(own) for own in places.values()], list(places))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
