"""Electrocardiograms of some sources as a cardiologist expects them, on paper: 25 mm/s and 10 mm/mV."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.results.artefact import Artefact
from lapwing.results.excerpt import Example, Excerpt
from lapwing.results.figures.panels import LINE, grid, say_nothing_was_run
from lapwing.results.figures.style import style

ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
"""The leads as they are written; in prepared data they are all upper case."""
RHYTHM = "II"
"""The lead of the strip below, over the whole time."""
SECONDS = 2.5
"""Of a lead in a row."""

MM_PER_SECOND, MM_PER_MV = 25.0, 10.0
LEFT, WIDTH, HEIGHT = 10.0, 265.0, 105.0
"""Millimetres: where the leads begin, and the paper of one record."""
BASELINES = (85.0, 60.0, 35.0, 10.0)
"""Of the rows, in millimetres from below."""
INCH = 25.4
DOTS = 6
"""Of a PNG, in a millimetre: a whole number, so that the lines of the paper are all alike."""
FINE, BOLD = "#f8d7d7", "#eda6a6"
HALO = (withStroke(linewidth=2, foreground="white"),)
"""Keeps words readable over noise."""


def records(artefact: Artefact, excerpt: Excerpt, scale: str) -> Figure:
    """Draw a record of three sources of the run with the most corrupt ones, in true size.

    The most unreliable source, the median of the clean and the least unreliable; the signals as the learner
    saw them, corruption and all.

    Raises:
        UserError: the prepared file did not say that it holds the twelve leads in mV.
    """
    examples = excerpt.examples
    recording = _recording(artefact, excerpt) if examples else {}
    with style():
        paper = (WIDTH / INCH, HEIGHT / INCH + 2 * LINE)
        figure, places = grid(len(examples), 1, artefact, scale, paper)
        figure.set_dpi(DOTS * INCH)
        for example, (panel,) in zip(examples, places, strict=False):
            panel.set_title(_title(example, artefact.classes), loc="left")
            signals = dict(zip(recording["leads"], example.signals, strict=True))
            draw_electrocardiogram(panel, signals, recording["frequency"])
        if not examples:
            say_nothing_was_run(places[0][0])
            return figure
        _place([panel for row in places for panel in row], figure, paper)
    return figure


def _recording(artefact: Artefact, excerpt: Excerpt) -> Mapping[str, Any]:
    """Leads, units and frequency of prepared data that can be drawn."""
    data, recording = f"the prepared data of {excerpt.dataset}", excerpt.recording
    if not recording:
        problem = f"{data} do not say their leads, units and sampling frequency"
    else:
        units = dict(zip(recording["leads"], recording["units"], strict=True))
        problems = (_problem(lead, units.get(lead.upper()), data) for row in ROWS for lead in row)
        problem = next(filter(None, problems), "")
    if problem:
        raise UserError(f"{artefact.title}: draws records: {problem}.")
    return recording


def _problem(lead: str, unit: str | None, data: str) -> str | None:
    if unit is None:
        return f"{data} have no lead {lead}"
    return None if unit == "mV" else f"lead {lead} in {data} is in {unit}, and mV are drawn"


def _title(example: Example, classes: Sequence[str]) -> str:
    given, true = (_class(label, classes) for label in (example.given, example.true))
    kind = "corrupt" if example.is_corrupt else "clean"
    noise = "; signals corrupted" if example.is_altered else ""
    return (
        f"Source {example.source} ({kind}), {example.role}: unreliability {example.unreliability:g}. "
        f"Record {example.number}: label given {given}, true label {true}{noise}"
    )


def _class(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label < len(classes) else str(label)


def _place(panels: Sequence[Axes], figure: Figure, paper: tuple[float, float]) -> None:
    """One millimetre of the paper is one millimetre of the figure; the heading stands above."""
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    figure.suptitle(figure.get_suptitle(), fontsize=9, y=1 - 0.08 / height)
    for number, panel in enumerate(reversed(panels)):
        left, below = (width - paper[0]) / 2, 0.1 + number * paper[1]
        panel.set_position((left / width, below / height, WIDTH / INCH / width, HEIGHT / INCH / height))


# -- one record ----------------------------------------------------------------------------------------


def draw_electrocardiogram(panel: Axes, signals: Mapping[str, Array], frequency: float) -> None:
    """Draw twelve leads in three rows of four, and a rhythm strip; the panel is millimetre paper.

    Args:
        panel: is given the size of the paper as its limits.
        signals: [T] in mV of each lead, by its name in upper case. The leads of a row follow one another in
            time; where the record is too short for that, each begins with the record.
        frequency: samples per second.
    """
    _draw_paper(panel)
    length, total = round(SECONDS * frequency), len(signals[RHYTHM])
    is_long = total >= len(ROWS[0]) * length
    for baseline, row in zip(BASELINES, ROWS, strict=False):
        _draw_pulse(panel, baseline)
        for column, lead in enumerate(row):
            start = column * length if is_long else 0
            piece = signals[lead.upper()][start : start + length]
            _draw_lead(panel, piece, lead, (LEFT + column * SECONDS * MM_PER_SECOND, baseline), frequency)
    _draw_pulse(panel, BASELINES[-1])
    strip = signals[RHYTHM][: len(ROWS[0]) * length]
    _draw_lead(panel, strip, RHYTHM, (LEFT, BASELINES[-1]), frequency)
    order = "leads one after another" if is_long else "each lead from the beginning"
    said = f"{MM_PER_SECOND:g} mm/s   {MM_PER_MV:g} mm/mV   {frequency:g} Hz   {order}"
    panel.text(WIDTH - 1, 1, said, ha="right", va="bottom", fontsize=6.5, path_effects=HALO)


def _draw_paper(panel: Axes) -> None:
    """A thin line every millimetre, a stronger one every five."""
    panel.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), xticks=[], yticks=[])
    panel.spines[["left", "bottom"]].set_visible(False)
    for step, colour, width in ((1, FINE, 0.3), (5, BOLD, 0.5)):
        down = [[(x, 0), (x, HEIGHT)] for x in np.arange(0, WIDTH + 1, step)]
        across = [[(0, y), (WIDTH, y)] for y in np.arange(0, HEIGHT + 1, step)]
        lines = LineCollection([*down, *across], colors=colour, linewidths=width, zorder=0.5, rasterized=True)
        panel.add_collection(lines, autolim=False)


def _draw_pulse(panel: Axes, baseline: float) -> None:
    """1 mV for 0.2 s: the calibration."""
    x = np.array([0.0, 0.05, 0.05, 0.25, 0.25, 0.3]) * MM_PER_SECOND + 1
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]) * MM_PER_MV + baseline
    panel.plot(x, y, color="black", linewidth=0.7, label="_pulse")


def _draw_lead(panel: Axes, piece: Array, lead: str, origin: tuple[float, float], frequency: float) -> None:
    """The trace of a lead from its origin on, its name above, and a tick where it begins."""
    x, y = origin
    seconds = np.arange(len(piece)) / frequency
    panel.plot(x + seconds * MM_PER_SECOND, y + piece * MM_PER_MV, color="black", linewidth=0.6, label=lead)
    panel.plot([x, x], [y - 2, y + 2], color="black", linewidth=0.6, label="_tick")
    panel.text(x + 1, y + 11, lead, fontsize=7.5, fontweight="bold", va="bottom", path_effects=HALO)
