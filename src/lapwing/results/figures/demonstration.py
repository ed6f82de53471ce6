"""Figure 1: how LAP sees five sources; the losses are made up, nothing is trained."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MultipleLocator

from lapwing.results.figures.style import WIDTH, style
from lapwing.results.layout import NOTICES, is_reproduction

PANELS: list[tuple[str, list[float], float, list[int]]] = [
    ("Early Training", [1, 2, 3, 4, 8], 1.0, [10000, 10000, 10000, 10000, 9000]),
    ("Mid Training", [0.5, 0.6, 1, 3, 9], 0.5, [10000, 10000, 9000, 7000, 5000]),
    ("Late Training", [0.2, 0.3, 0.8, 3, 10], 0.2, [10000, 10000, 7000, 5000, 1000]),
]
"""Title, mean loss of each source, their common deviation, points of each source (spec lap-core 6.5)."""

LENIENCY = 0.5


def demonstration_losses(seed: int) -> list[pd.DataFrame]:
    """Draw the made-up losses of Figure 1: per panel the columns loss and source (1 to 5)."""
    generator = np.random.default_rng(seed)
    return [
        pd.DataFrame(
            {
                "loss": generator.normal(np.repeat(means, points), deviation),
                "source": np.repeat(np.arange(1, 6), points),
            }
        )
        for _, means, deviation, points in PANELS
    ]


def figure_1(seed: int = 0, scale: str = "paper") -> Figure:
    """Draw how LAP sees five sources early, midway and late in training (spec lap-core 6.5).

    Fewer points of worse sources stand for their reduced weight. The losses are made up; the
    published figure was not seeded. Below paper scale the notice of all figures stands first.
    """
    losses = demonstration_losses(seed)
    with style():
        figure = Figure(figsize=(2 * WIDTH, 2 * WIDTH / 4))
        panels = figure.subplots(1, 3)
        figure.subplots_adjust(left=0.04, right=0.99, top=0.88, bottom=0.34, wspace=0.08)
        if not is_reproduction(scale):
            figure.subplots_adjust(top=0.80)
            figure.suptitle(f"{NOTICES[scale]}; the losses are made up at every scale.", fontsize=9, y=0.99)
        for panel, (title, *_), drawn in zip(panels, PANELS, losses, strict=True):
            _draw_losses(panel, title, drawn)
        panels[0].set_ylabel(r"Density $\times\ 1/f(C_s)$")
        _draw_directions(panels[0], losses[0]["loss"])
        _draw_time(figure)
    return figure


def _draw_losses(panel: Axes, title: str, drawn: pd.DataFrame) -> None:
    """One panel: the losses of all sources, their mean, and the threshold beside it."""
    shown = drawn.astype({"source": str})
    sns.histplot(
        shown, x="loss", hue="source", bins=50, kde=True, multiple="stack", palette="viridis",
        linewidth=0.2, legend=title.startswith("Early"), ax=panel,
    )  # fmt: skip
    panel.set(title=title, xlabel="Loss", ylabel="", yticks=[0, 3000, 6000], yticklabels=[])
    panel.xaxis.set_major_locator(MultipleLocator(3))  # leaves the ends free: the panels stand close
    top = max(panel.get_ylim()[1], 6000) * 1.35
    panel.set_ylim(0, top)
    mean, reach = drawn["loss"].mean(), LENIENCY * drawn["loss"].std()
    for place in (mean, mean + reach):
        panel.axvline(place, color="black", linestyle="--", linewidth=0.9)
    _arrow(panel, (mean, 0.80 * top), (mean + reach, 0.80 * top))
    panel.text(mean, 0.9 * top, r"$\mu_{s'}$ ", ha="right")
    panel.text(mean + reach, 0.78 * top, r" $\lambda\sigma_{s'}$", ha="left")
    if (legend := panel.get_legend()) is not None:
        legend.set(title="Source", frame_on=False)
        sns.move_legend(panel, "center right", title="Source", frameon=False, fontsize=6, title_fontsize=7)


def _draw_directions(panel: Axes, losses: "pd.Series[float]") -> None:
    """Which way the counter goes on each side of the threshold."""
    threshold = losses.mean() + LENIENCY * losses.std()
    height = 0.92 * panel.get_ylim()[1]
    _arrow(panel, (threshold, height), (threshold + 2.5, height))
    panel.text(threshold + 2.7, height, r"$C_s \uparrow$", va="center")
    low = 0.62 * panel.get_ylim()[1]
    _arrow(panel, (threshold, low), (threshold - 4.0, low))
    panel.text(threshold - 4.2, low, r"$C_s \downarrow$", va="center", ha="right")


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0})


def _draw_time(figure: Figure) -> None:
    """The arrow of time under the panels, and what happens meanwhile."""
    across = FancyArrowPatch(
        (0.04, 0.13), (0.99, 0.13), transform=figure.transFigure, arrowstyle="->", mutation_scale=10
    )
    figure.add_artist(across)
    figure.text(0.5, 0.03, r"$C_s$ Increases for Unreliable Sources", ha="center")
