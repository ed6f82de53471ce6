"""The common style, colours, and how a figure is saved: whole, and the same bytes from the same numbers."""

import contextlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from lapwing import files

WIDTH = 4.227
"""Inches of a column (spec lap-experiments 8)."""

Dash = str | tuple[float, tuple[float, ...]]


class Look(NamedTuple):
    """How a line looks; no two columns of a figure are alike, without colours neither."""

    colour: str
    dash: Dash
    marker: str


LOOKS = {
    "lap": Look("#35b779", "-", "o"),
    "standard": Look("#31688e", "--", "X"),
    "arfl": Look("#cc5500", ":", "s"),
    "idpa": Look("#440154", "-.", "^"),
    "coteaching": Look("#b8a100", (0, (5, 1, 1, 1, 1, 1)), "D"),
    "cdr": Look("#8c6bb1", (0, (1, 3)), "v"),
    "nls": Look("#7f7f7f", (0, (8, 2)), "P"),
}
"""The published pair and the rivals, apart in lightness too: a method looks the same in every figure."""

COLOURS = ["#cc5500", "#440154", "#b8a100", "#8c6bb1", "#7f7f7f", "#e0529c"]
DASHES: list[Dash] = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))]
MARKERS = ["o", "X", "s", "^", "D", "v", "P"]
"""For other columns; as many as share no divisor, so that a look comes again after all others."""
CORRUPT, CLEAN = "#cc5500", "#31688e"

_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
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
        "figure.dpi": 300,
        "savefig.dpi": 300,
    }
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, paths: Mapping[str, str | Path]) -> None:
    """Save a figure in each format (`pdf`, `png`, `svg`), whole, without a date, PNG with its own dpi."""
    for kind, path in paths.items():
        with files.written_aside(Path(path)) as aside, style():
            if kind == "png":
                aside.write_bytes(_png(figure, figure.get_dpi()))
            else:
                figure.savefig(aside, format=kind, metadata=_METADATA[kind])


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG, to be shown in a page."""
    with style():
        return _png(figure, 130)


def _png(figure: Figure, dpi: float) -> bytes:
    """Of 256 colours: they look as all do, and take a third of the room in the pages that hold them."""
    drawn, held = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    colours = Image.open(drawn).convert("RGB")
    indexed = colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    indexed.save(held, "png", dpi=(dpi, dpi), optimize=True)
    return held.getvalue()


def looks_of(columns: Sequence[str]) -> dict[str, Look]:
    """A look for each column: that of the method, else the next of all others."""
    others = map(Look, itertools.cycle(COLOURS), itertools.cycle(DASHES), itertools.cycle(MARKERS))
    return {column: LOOKS.get(column) or next(others) for column in columns}
