"""Figures along an axis of a study, by step, and of ranks: what they draw is what was measured."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from lapwing.errors import UserError
from lapwing.results import figures
from lapwing.results.artefact import Artefact
from lapwing.results.figures import Material
from lapwing.results.published import read_summary
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED, TOP_1

LOSS = {"name": "loss", "better": "lower", "unit": "loss"}
SWEEP = {"leniency": [0.125, 1.0], "history_length": [5, 50, 800]}


def artefact(draws, **changes):
    return validate(Artefact, {"kind": "figure", "title": "A figure", "draws": draws} | changes, "test")


def made(cells, value, epochs=3):
    """Results of cells: `value` of a cell, a seed and an epoch."""
    rows = [
        {**axes_of(cell), "seed": seed, "epoch": epoch, "split": "test", "metric": cell["metric"]["name"]}
        | {"value": value(cell, seed, epoch)}
        for cell in cells
        for seed in cell["seeds"]
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def axes_of(cell):
    return {axis: value for axis, value in cell.items() if axis not in ("metric", "seeds")}


def material(results=None, sources=None, scale="paper"):
    empty = pd.DataFrame()
    return Material(
        scale, empty if results is None else results, empty if sources is None else sources, empty, PUBLISHED
    )


# -- lines ---------------------------------------------------------------------------------------------

NOISY = [
    {"dataset": "cifar_10n", "corruption": "human_labels", "n_corrupt": n, "method": method}
    | {"metric": TOP_1, "seeds": [1, 2]}
    for n in (6, 2, 4)
    for method in ("standard", "lap")
]
FIGURE_4 = {
    "rows": ["n_corrupt"],
    "readings": ["best"],
    "published": {"study": "cifar10n_low_capacity", "table": "Figure 4"},
}


def of_noisy(cell, seed, epoch):
    return (
        0.7
        - 0.01 * cell["n_corrupt"]
        + 0.02 * (cell["method"] == "lap")
        - 0.001 * epoch
        + 0.002 * (seed - 1.5)
    )


def test_lines_are_means_over_seeds_in_the_order_of_the_axis():
    figure = figures.draw(artefact("lines", **FIGURE_4), NOISY, material(made(NOISY, of_noisy)))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["LAP"].get_xdata() == pytest.approx([2, 4, 6])
    assert lines["LAP"].get_ydata() == pytest.approx([69.9, 67.9, 65.9])
    assert lines["Standard"].get_ydata() == pytest.approx([67.9, 65.9, 63.9])
    assert figure.axes[0].get_xlabel() == "Number of Noisy Sources"
    assert figure.axes[0].get_ylabel() == "Test top-1 accuracy (%),\nbest epoch"


def test_every_reading_has_a_panel_that_names_it():
    description = FIGURE_4 | {"readings": ["best", "last"]}
    best, last = figures.draw(artefact("lines", **description), NOISY, material(made(NOISY, of_noisy))).axes
    assert last.get_ylabel() == "Test top-1 accuracy (%),\nlast epoch"
    lap = next(line for line in last.lines if line.get_label() == "LAP")
    assert lap.get_ydata() == pytest.approx([69.7, 67.7, 65.7])
    assert not any("published" in line.get_label() for line in last.lines)
    assert any("published" in line.get_label() for line in best.lines)


def test_published_means_stand_beside_the_lines():
    figure = figures.draw(artefact("lines", **FIGURE_4), NOISY, material(made(NOISY, of_noisy)))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["LAP, published"].get_ydata() == pytest.approx([70.6, 68.6, 65.8])
    assert lines["Standard, published"].get_ydata() == pytest.approx([69.0, 66.6, 62.9])
    assert lines["LAP, published"].get_markerfacecolor() == "white"


def test_figure_3a_has_its_published_lines_in_percent():
    axes = {"dataset": "ptb_xl", "corruption": "noise_and_label_flip"}
    auc = TOP_1 | {"name": "auc_pr"}
    cells = [{**cell, **axes, "metric": auc} for cell in NOISY]
    ecg = FIGURE_4 | {"published": {"study": "ecg", "table": "Figure 3a"}}
    panel = figures.draw(artefact("lines", **ecg), cells, material(made(cells, of_noisy))).axes[0]
    lines = {line.get_label(): line for line in panel.lines}
    assert panel.get_ylabel() == "Test AUC PR (%),\nbest epoch"
    assert lines["LAP, published"].get_ydata() == pytest.approx([94.4, 94.2, 93.8])
    assert lines["Standard, published"].get_ydata() == pytest.approx([94.5, 93.8, 92.7])


def test_lines_are_told_apart_by_colour_dash_and_marker():
    figure = figures.draw(artefact("lines", **FIGURE_4), NOISY, material(made(NOISY, of_noisy)))
    lap, standard = (
        next(line for line in figure.axes[0].lines if line.get_label() == label)
        for label in ("LAP", "Standard")
    )
    for what in ("color", "linestyle", "marker"):
        assert getattr(lap, f"get_{what}")() != getattr(standard, f"get_{what}")()


def texts_of(panel):
    return [text.get_text() for text in panel.texts]


def test_cells_that_were_not_run_leave_a_gap_and_words():
    there = made(NOISY, of_noisy)
    results = there[~((there["n_corrupt"] == 4) & (there["method"] == "lap"))]
    [panel] = figures.draw(artefact("lines", **FIGURE_4), NOISY, material(results)).axes
    lines = {line.get_label(): line for line in panel.lines}
    assert np.isnan(lines["LAP"].get_ydata()[1])
    assert texts_of(panel) == ["LAP: not run"]
    [panel] = figures.draw(
        artefact("lines", **FIGURE_4), NOISY, material(there[there["n_corrupt"] != 4])
    ).axes
    assert texts_of(panel) == ["not run"]
    assert panel.texts[0].get_position()[0] == 4


def test_lines_of_nothing_say_so():
    [panel] = figures.draw(artefact("lines", **FIGURE_4), NOISY, material()).axes
    assert texts_of(panel) == ["not run"]
    assert any("published" in line.get_label() for line in panel.lines)


def test_lines_over_words_are_refused():
    with pytest.raises(UserError, match="lines need a number as the last axis; corruption is human_labels"):
        figures.draw(
            artefact("lines", rows=["n_corrupt", "corruption"]), NOISY, material(made(NOISY, of_noisy))
        )


def test_further_axes_have_a_panel_each():
    both = NOISY + [{**cell, "corruption": "random_label"} for cell in NOISY]
    figure = figures.draw(
        artefact("lines", rows=["corruption", "n_corrupt"]), both, material(made(both, of_noisy))
    )
    assert [panel.get_title() for panel in figure.axes] == ["Human Labels", "Random Label"]


def test_lines_over_a_hyperparameter_have_its_symbol():
    by_leniency = [{**cell, "leniency": cell["n_corrupt"]} for cell in NOISY]
    description = {"rows": ["leniency"], "readings": ["last"]}
    figure = figures.draw(
        artefact("lines", **description), by_leniency, material(made(by_leniency, of_noisy))
    )
    assert figure.axes[0].get_xlabel() == r"$\lambda$"


# -- boxes ---------------------------------------------------------------------------------------------

SETTINGS = [
    {"dataset": "two_moons", "corruption": "graded_label_flip", "method": "lap", "varied": varied}
    | {"setting": setting, "metric": LOSS, "seeds": [0, 1, 2]}
    for varied, settings in SWEEP.items()
    for setting in settings
]
FIGURE_6 = {
    "rows": ["varied"],
    "columns": "setting",
    "readings": ["worst", "last"],
    "published": {"study": "toy_example", "table": "HEAD Figure 6", "columns": "lap"},
}


def of_settings(cell, seed, epoch):
    return 0.3 + 0.01 * seed + 0.1 * (epoch == 2) + 0.001 * cell["setting"]


def test_boxes_hold_one_value_per_run_and_reading():
    figure = figures.draw(artefact("boxes", **FIGURE_6), SETTINGS, material(made(SETTINGS, of_settings)))
    assert len(figure.axes) == 2 * 2
    worst, last = figure.axes[0], figure.axes[2]
    for panel, expected in ((worst, 0.411), (last, 0.311)):
        medians = [
            line.get_ydata()[0]
            for line in panel.lines
            if line.get_color() == "black" and len(line.get_ydata())
        ]
        assert medians == pytest.approx([expected - 0.001 + 0.000125, expected])
    assert worst.get_ylabel() == "Test loss (cross-entropy),\nworst epoch"
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["5", "50", "800"]
    assert [panel.get_xlabel() for panel in figure.axes[:2]] == [r"$\lambda$", "$H$"]


def test_published_means_stand_beside_the_boxes_of_their_reading():
    figure = figures.draw(artefact("boxes", **FIGURE_6), SETTINGS, material(made(SETTINGS, of_settings)))
    marks = [
        [float(line.get_ydata()[0]) for line in panel.lines if line.get_marker() == "D"]
        for panel in figure.axes
    ]
    assert marks == [[0.36, 0.35], [0.37, 0.35, 0.40], [], []]


def test_panels_of_a_reading_have_the_same_height():
    figure = figures.draw(artefact("boxes", **FIGURE_6), SETTINGS, material(made(SETTINGS, of_settings)))
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_boxes_that_were_not_run_say_so():
    description = FIGURE_6 | {"published": None}
    figure = figures.draw(artefact("boxes", **description), SETTINGS, material())
    assert [text.get_text() for panel in figure.axes for text in panel.texts] == ["not run"] * 4


def test_boxes_of_settings_that_were_not_selected_say_so():
    results = made(SETTINGS, of_settings)
    cells = [
        {**cell, "seeds": [] if cell["varied"] == "leniency" or cell["setting"] == 50 else cell["seeds"]}
        for cell in SETTINGS
    ]
    there = results[(results["varied"] != "leniency") & (results["setting"] != 50)]
    leniency, history_length = figures.draw(
        artefact("boxes", **FIGURE_6 | {"readings": ["worst"]}), cells, material(there)
    ).axes
    assert leniency.get_xlabel() == r"$\lambda$"
    assert texts_of(leniency) == texts_of(history_length) == ["not run"]
    assert history_length.texts[0].get_position()[0] == 1  # the place of 50


# -- traces --------------------------------------------------------------------------------------------


def traces():
    """Three sources; the multiplier of source 2 falls fastest."""
    rows = [
        {**axes_of(cell), "seed": 0, "epoch": 1, "step": step, "source": source, "is_corrupt": source > 0}
        | {"mean_loss": np.nan, "unreliability": 1.0, "multiplier": 1 - source * step / 4000}
        for cell in SETTINGS
        for step in (1000, 0, 500)
        for source in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def of_traces(**changes):
    description = {"rows": ["varied"], "columns": "setting", "source_levels": {1: 0.05, 2: 1.0}} | changes
    return figures.draw(artefact("multiplier_traces", **description), SETTINGS, material(sources=traces()))


def lightness(colour):
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue


def test_traces_have_a_row_per_hyperparameter_and_a_panel_per_value():
    figure = of_traces()
    drawn = [panel.get_title() for panel in figure.axes if panel.lines]
    expected = [r"$\lambda$ = 0.125", r"$\lambda$ = 1", "$H$ = 5", "$H$ = 50", "$H$ = 800"]
    assert drawn == expected
    assert figure.axes[0].lines[1].get_xdata() == pytest.approx([0, 500, 1000])
    assert figure.axes[0].get_ylim() == (0, 1.05)
    assert figure.axes[0].get_xticks() == pytest.approx([0, 1000])


def test_noisier_sources_are_darker_and_the_legend_says_how_noisy():
    first = of_traces().axes[0]
    by_fall = sorted(first.lines, key=lambda line: -line.get_ydata()[-1])
    assert np.all(np.diff([lightness(line.get_color()) for line in by_fall]) < -30)
    legend = of_traces().axes[2].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["clean", "5 %", "100 %"]


def test_rows_of_traces_have_colours_of_their_own():
    figure = of_traces()
    assert figure.axes[0].lines[-1].get_color() != figure.axes[3].lines[-1].get_color()


def test_colours_of_traces_are_those_of_the_hyperparameter_in_any_selection():
    of_leniency = figures.draw(
        artefact("multiplier_traces", rows=["varied"], columns="setting"),
        [cell for cell in SETTINGS if cell["varied"] == "leniency"],
        material(sources=traces()),
    )
    red, green, blue = to_rgb(of_leniency.axes[0].lines[-1].get_color())
    assert green > max(red, blue)
    red, green, blue = to_rgb(of_traces().axes[3].lines[-1].get_color())  # history length
    assert red > max(green, blue)


def test_settings_that_were_not_selected_have_a_panel_that_says_so():
    cells = [{**cell, "seeds": [] if cell["varied"] == "leniency" else cell["seeds"]} for cell in SETTINGS]
    there = traces()
    figure = figures.draw(
        artefact("multiplier_traces", rows=["varied"], columns="setting"),
        cells,
        material(sources=there[there["varied"] != "leniency"]),
    )
    assert [texts_of(panel) for panel in figure.axes[:2]] == [["not run"], ["not run"]]
    assert figure.axes[3].lines


def test_traces_without_levels_tell_corrupt_from_clean():
    legend = of_traces(source_levels={}).axes[2].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["clean", "corrupt"]


@pytest.mark.parametrize("empty", [traces().iloc[:0], pd.DataFrame()])
def test_traces_that_were_not_run_say_so(empty):
    description = {"rows": ["varied"], "columns": "setting"}
    figure = figures.draw(artefact("multiplier_traces", **description), SETTINGS, material(sources=empty))
    assert {text.get_text() for panel in figure.axes for text in panel.texts} == {"not run"}


# -- ranks ---------------------------------------------------------------------------------------------

METHODS = ["standard", "lap", "arfl", "cdr"]
BOARD = [
    {"dataset": "digits", "conditions": conditions, "corruption": corruption, "method": method}
    | {"metric": TOP_1, "seeds": [1, 2]}
    for conditions in ("published", "corrected")
    for corruption in ("original", "random_label", "added_noise")
    for method in METHODS
]


def of_board(cell, seed, epoch):
    order = METHODS if cell["conditions"] == "published" else METHODS[::-1]
    return 0.9 - 0.1 * order.index(cell["method"]) + 0.001 * seed + 0.0 * epoch


def of_ranks(results):
    return figures.draw(artefact("ranks", rows=["conditions", "corruption"]), BOARD, material(results))


def test_ranks_are_drawn_for_each_conditions():
    published, corrected = of_ranks(made(BOARD, of_board)).axes
    names = [text.get_text().strip() for text in published.texts if "(" in text.get_text()]
    assert names == ["Standard (1.00)", "LAP (2.00)", "ARFL (3.00)", "CDR (4.00)"]
    assert "n = 3 rows" in published.get_title(loc="left")
    assert corrected.get_title(loc="left").startswith("Corrected conditions: mean rank (1 = best) ")
    assert [text.get_text().strip() for text in corrected.texts if "(" in text.get_text()][0] == "CDR (1.00)"


def test_bars_join_methods_that_do_not_differ():
    """With 4 methods and 3 rows the critical difference is 2.71: the first and the last differ."""
    published, _ = of_ranks(made(BOARD, of_board)).axes
    assert "critical difference 2.71" in {text.get_text() for text in published.texts}
    bars = [line.get_xdata() for line in published.lines if line.get_label() == "_clique"]
    assert [[round(end) for end in bar] for bar in bars] == [[1, 3], [2, 4]]


def test_critical_difference_is_drawn_as_long_as_it_is():
    """Two methods and one row: 1.96 ranks, further than the scale goes."""
    board = [cell for cell in BOARD if cell["method"] in ("standard", "lap")]
    results = made(board, of_board)
    published, _ = figures.draw(
        artefact("ranks", rows=["conditions", "corruption"]),
        board,
        material(results[results["corruption"] == "original"]),
    ).axes
    bar = next(line.get_xdata() for line in published.lines if line.get_marker() == "|")
    assert bar[1] - bar[0] == pytest.approx(1.96, abs=0.01)
    assert published.get_xlim()[1] > bar[1]


def test_rows_in_which_a_method_is_missing_are_not_ranked():
    results = made(BOARD, of_board)
    lost = (results["method"] == "lap") & (results["corruption"] == "original")
    published, _ = of_ranks(results[~lost]).axes
    assert "n = 2 rows" in published.get_title(loc="left")


def test_nothing_to_rank_says_so():
    figure = of_ranks(pd.DataFrame())
    assert {text.get_text() for panel in figure.axes for text in panel.texts} == {
        "too little was run to rank"
    }


# -- all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draws", "cells", "changes"),
    [
        ("lines", NOISY, FIGURE_4),
        ("boxes", SETTINGS, FIGURE_6),
        ("multiplier_traces", SETTINGS, {"rows": ["varied"], "columns": "setting"}),
        ("ranks", BOARD, {"rows": ["conditions", "corruption"]}),
    ],
)
def test_figures_at_demo_scale_begin_with_the_notice(draws, cells, changes):
    values = {"lines": of_noisy, "boxes": of_settings, "ranks": of_board}
    results = made(cells, values[draws]) if draws in values else None
    figure = figures.draw(artefact(draws, **changes), cells, material(results, traces(), "demo"))
    assert figure.get_suptitle().startswith("Demo scale: stand-in data")
    assert figures.as_png(figure).startswith(b"\x89PNG")


def test_published_figure_4_is_that_of_the_summary():
    """The test above compares with numbers by hand; these are the same."""
    table = read_summary(PUBLISHED, "cifar10n_low_capacity", "Figure 4")
    lap = table[table["method"] == "lap"].set_index("n_corrupt")["printed_mean"]
    assert lap.loc[[2, 4, 6]].tolist() == pytest.approx([70.6, 68.6, 65.8])
