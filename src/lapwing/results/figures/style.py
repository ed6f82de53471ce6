"""The common style, colours, and how a figure is saved: whole, and the same bytes from the same numbers."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lapwing import files

WIDTH = 4.227
"""Inches of a column (spec lap-experiments 8)."""

COLOURS = {"lap": "#35b779", "standard": "#31688e"}
"""The published pair, apart in lightness too; other methods take the next of `OTHER_COLOURS`."""

OTHER_COLOURS = ["#cc5500", "#440154", "#b8a100", "#8c6bb1", "#7f7f7f", "#e0529c"]
DASHES = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))]
MARKERS = ["o", "X", "s", "^", "D", "v"]
CORRUPT, CLEAN = "#cc5500", "#31688e"

_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The common style: white grid, dashed grey lines, serif letters, no spines at top and right."""
    settings: Any = {
        "font.family": "serif",
        "mathtext.fontset": "dejavuserif",
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.grid": True,
        "grid.linestyle": "--",
        "grid.color": "0.8",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.usetex": False,
        "svg.hashsalt": "lapwing",
        "savefig.dpi": 300,
    }
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, paths: Mapping[str, str | Path]) -> None:
    """Save a figure in each format (`pdf`, `png`, `svg`), whole and without a date."""
    for kind, path in paths.items():
        with files.written_aside(Path(path)) as aside, style():
            figure.savefig(aside, format=kind, metadata=_METADATA[kind])


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG, to be shown in a page."""
    held = io.BytesIO()
    with style():
        figure.savefig(held, format="png", dpi=130, metadata=_METADATA["png"])
    return held.getvalue()


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method."""
    others = iter(OTHER_COLOURS * (1 + len(methods) // len(OTHER_COLOURS)))
    return {method: COLOURS.get(method) or next(others) for method in methods}
