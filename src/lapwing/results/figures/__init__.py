"""Figures in one style; `draw` draws what an artefact says, `save` saves it."""

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from lapwing.results.artefact import Artefact
from lapwing.results.figures.curves import learning_curves
from lapwing.results.figures.demonstration import PANELS, demonstration_losses, figure_1
from lapwing.results.figures.panels import Cells, Material
from lapwing.results.figures.ranks import ranks
from lapwing.results.figures.records import records
from lapwing.results.figures.sources import multiplier_traces, source_history
from lapwing.results.figures.style import as_png, looks_of, save, style
from lapwing.results.figures.sweeps import boxes, lines

__all__ = [
    "DRAWINGS",
    "PANELS",
    "Material",
    "as_png",
    "boxes",
    "demonstration_losses",
    "draw",
    "figure_1",
    "learning_curves",
    "lines",
    "looks_of",
    "multiplier_traces",
    "ranks",
    "records",
    "save",
    "source_history",
    "style",
]

DRAWINGS: Mapping[str, Callable[[Artefact, Cells, Material], Figure]] = {
    "learning_curves": lambda artefact, cells, m: learning_curves(
        artefact, cells, m.results, m.scale, m.published
    ),
    "source_history": lambda artefact, cells, m: source_history(artefact, cells, m.sources, m.scale),
    "multiplier_traces": lambda artefact, cells, m: multiplier_traces(artefact, cells, m.sources, m.scale),
    "lines": lines,
    "boxes": boxes,
    "ranks": ranks,
    "records": lambda artefact, cells, m: records(artefact, m.excerpt, m.scale),
}
"""What `draws` of an artefact can be."""


def draw(artefact: Artefact, cells: Cells, material: Material) -> Figure:
    """Draw what an artefact says that it draws."""
    return DRAWINGS[artefact.draws](artefact, cells, material)
