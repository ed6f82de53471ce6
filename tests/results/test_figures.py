"""Figures are the same from the same numbers, and show what they say."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lapwing.errors import UserError
from lapwing.results import figures
from lapwing.results.artefact import Artefact
from lapwing.results.published import read_curves
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED, TOP_1


def test_figure_1_draws_the_losses_of_the_specification():
    losses = figures.demonstration_losses(seed=0)
    for (_, means, deviation, points), drawn in zip(figures.PANELS, losses, strict=True):
        by_source = drawn.groupby("source")["loss"]
        assert by_source.size().tolist() == points
        assert by_source.mean().to_numpy() == pytest.approx(np.array(means), abs=0.05)
        assert by_source.std().to_numpy() == pytest.approx(deviation, rel=0.1)


def test_figure_1_marks_mean_and_threshold_in_every_panel():
    figure = figures.figure_1(seed=0)
    for panel, losses in zip(figure.axes, figures.demonstration_losses(seed=0), strict=True):
        dashed = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
        mean, deviation = losses["loss"].mean(), losses["loss"].std()
        assert dashed == pytest.approx([mean, mean + 0.5 * deviation])


def test_numbers_below_the_panels_of_figure_1_stand_apart():
    figure = figures.figure_1(seed=0)
    renderer = FigureCanvasAgg(figure).get_renderer()
    with figures.style():
        figure.draw(renderer)
        below = [panel.xaxis.get_tightbbox(renderer) for panel in figure.axes]
    for left, right in itertools.pairwise(below):
        assert left.x1 + 10 < right.x0


def test_same_figure_has_the_same_bytes(made_up, tmp_path):
    written = []
    for name in ("a", "b"):
        paths = {kind: tmp_path / f"{name}.{kind}" for kind in ("pdf", "png", "svg")}
        figures.save(
            figures.learning_curves(described(made_up), made_up.cells, made_up.metrics, "demo"), paths
        )
        written.append({kind: path.read_bytes() for kind, path in paths.items()})
    assert written[0] == written[1]
    assert b"CreationDate" not in written[0]["pdf"]
    assert b"dc:date" not in written[0]["svg"]


def test_another_seed_draws_other_losses():
    assert not np.array_equal(figures.demonstration_losses(0)[0], figures.demonstration_losses(1)[0])


class HalfSaved(Figure):
    """A figure on a disk that is full after a few bytes."""

    def savefig(self, path, **_):
        Path(path).write_bytes(b"%PDF")
        raise OSError(28, "No space left on device")


def test_a_figure_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match=r"a.pdf cannot be written: No space left on device"):
        figures.save(HalfSaved(), {"pdf": tmp_path / "a.pdf"})
    assert not list(tmp_path.iterdir())


def described(made_up):
    return validate(Artefact, made_up.description, "test")


def test_learning_curve_is_the_mean_over_seeds_in_percent(made_up):
    figure = figures.learning_curves(described(made_up), made_up.cells, made_up.metrics, "paper")
    random_label = next(panel for panel in figure.axes if panel.get_title() == "Random Label")
    lap = next(line for line in random_label.lines if line.get_label() == "LAP")
    assert lap.get_ydata() == pytest.approx([58.0, 68.0, 80.0, 78.0])


def by_title(figure):
    """The panels of each cell of a source history, by its title."""
    rows = [figure.axes[first : first + 3] for first in range(0, len(figure.axes), 3)]
    return {row[0].get_title(loc="left"): row for row in rows}


def test_source_history_marks_the_corrupt_sources(made_up):
    figure = figures.source_history(described(made_up), made_up.cells, made_up.sources, "paper")
    panels = by_title(figure)
    assert list(panels) == ["Original Data", "Random Label"]  # standard has no unreliability
    _, unreliability, multiplier = panels["Random Label"]
    lines = {line.get_label(): line for line in unreliability.lines}
    assert lines["corrupt"].get_ydata() == pytest.approx([10, 20, 30, 40])
    assert lines["clean"].get_ydata() == pytest.approx([0, 0, 0, 0])
    assert lines["corrupt"].get_color() != lines["clean"].get_color()
    assert lines["corrupt"].get_linestyle() != lines["clean"].get_linestyle()
    assert [line.get_ydata()[-1] for line in multiplier.lines] == pytest.approx([1.0, 0.9])


def test_source_history_has_a_row_for_every_cell(made_up):
    """Two methods with unreliability in a row: none hides the other."""
    sources = made_up.sources.fillna({"unreliability": 5.0})
    figure = figures.source_history(described(made_up), made_up.cells, sources, "paper")
    assert list(by_title(figure)) == [
        *["Original Data, Standard", "Original Data, LAP"],
        *["Random Label, Standard", "Random Label, LAP"],
    ]


def test_source_history_as_a_figure_shows_the_losses_of_methods_without_unreliability(made_up):
    description = {"kind": "figure", "title": "Figure", "draws": "source_history"}
    artefact = validate(Artefact, description, "test")
    figure = figures.source_history(artefact, made_up.cells, made_up.sources, "paper")
    loss, unreliability, _ = by_title(figure)["Random Label, Standard"]
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0] * 4] * 2
    assert [text.get_text() for text in unreliability.texts] == ["Standard has none"]


def test_source_history_takes_the_ends_of_epochs(made_up):
    inside = made_up.sources.assign(step=made_up.sources["step"] - 5, mean_loss=np.nan, unreliability=99.0)
    sources = pd.concat([made_up.sources, inside], ignore_index=True)
    figure = figures.source_history(described(made_up), made_up.cells, sources, "paper")
    _, unreliability, _ = by_title(figure)["Random Label"]
    assert max(line.get_ydata().max() for line in unreliability.lines) == pytest.approx(40)


def test_many_sources_are_a_band(made_up):
    one = made_up.sources[made_up.sources["source"] == 0]
    many = pd.concat([one.assign(source=source) for source in range(60)], ignore_index=True)
    figure = figures.source_history(described(made_up), made_up.cells, many, "paper")
    _, unreliability, _ = by_title(figure)["Random Label"]
    assert len(unreliability.collections) == 1
    assert len(unreliability.collections[0].get_paths()) == 1  # no line for each of 180


def test_nothing_is_called_corrupt_where_nothing_is_corrupted(made_up):
    figure = figures.source_history(described(made_up), made_up.cells, made_up.sources, "paper")
    said = {
        title: [text.get_text() for text in panels[-1].get_legend().get_texts()]
        for title, panels in by_title(figure).items()
    }
    assert said["Original Data"] == ["clean", "drawn as corrupt (but nothing is corrupted)"]
    assert said["Random Label"] == ["clean", "corrupt"]


def test_curve_of_a_study_leaves_out_those_of_another_with_further_axes(made_up):
    """Both studies have a random label under LAP; the other's has a level too."""
    other = made_up.metrics.assign(level=0.5, value=0.1)
    further = [{**cell, "level": 0.5, "corruption": "added_noise"} for cell in made_up.cells]
    both = pd.concat([made_up.metrics, other], ignore_index=True)
    figure = figures.learning_curves(described(made_up), made_up.cells + further, both, "paper")
    random_label = next(panel for panel in figure.axes if panel.get_title() == "Random Label")
    lap = next(line for line in random_label.lines if line.get_label() == "LAP")
    assert lap.get_ydata() == pytest.approx([58.0, 68.0, 80.0, 78.0])


def test_cells_that_were_not_selected_have_a_panel_that_says_so(made_up):
    cells = [
        {**cell, "seeds": [] if cell["corruption"] == "original" else cell["seeds"]} for cell in made_up.cells
    ]
    metrics = made_up.metrics[made_up.metrics["corruption"] != "original"]
    original, random_label = figures.learning_curves(described(made_up), cells, metrics, "paper").axes
    assert original.get_title() == "Original Data"
    assert [text.get_text() for text in original.texts] == ["not run"]
    assert len(random_label.lines) == 2


def test_symbols_of_lap_are_those_of_lap_only(made_up):
    made_up.sources.loc[made_up.sources["method"] == "standard", ["unreliability", "multiplier"]] = 1.0
    named = {"standard": "arfl", "lap": "lap"}
    made_up.sources["method"] = made_up.sources["method"].map(named)
    cells = [{**cell, "method": named[cell["method"]]} for cell in made_up.cells]
    panels = by_title(figures.source_history(described(made_up), cells, made_up.sources, "paper"))
    labels = {title: [panel.get_ylabel() for panel in row] for title, row in panels.items()}
    assert labels["Random Label, LAP"][1:] == ["Unreliability $C_s$", "Multiplier $1 - d_s$"]
    assert not any("$" in label for label in labels["Random Label, ARFL"])


# -- looks ---------------------------------------------------------------------------------------------

RIVALS = ["standard", "arfl", "idpa", "coteaching", "cdr", "nls", "lap"]


def test_a_method_looks_the_same_in_every_figure():
    alone = figures.looks_of(["own_method", "nls", "lap"])
    together = figures.looks_of(RIVALS)
    assert (alone["nls"], alone["lap"]) == (together["nls"], together["lap"])


@pytest.mark.parametrize("columns", [RIVALS, [str(value) for value in range(40)]])
def test_no_two_columns_of_a_figure_look_alike(columns):
    assert len(set(figures.looks_of(columns).values())) == len(columns)


def test_lap_lies_above_all_others(made_up):
    figure = figures.learning_curves(described(made_up), made_up.cells, made_up.metrics, "paper")
    for panel in figure.axes:
        heights = {line.get_label(): line.get_zorder() for line in panel.lines}
        assert heights["LAP"] > heights["Standard"]


# -- several panels of a row ---------------------------------------------------------------------------

OBJECTIVE = {"name": "objective", "better": "lower", "unit": "loss"}
TOP_5 = TOP_1 | {"name": "top_5"}
FIGURE_5 = {
    "kind": "figure",
    "title": "Figure 5",
    "curves": [
        {"split": "train", "metric": OBJECTIVE},
        {"split": "validation", "metric": TOP_5},
        {"split": "test", "metric": TOP_5},
    ],
    "marks_best_of": "lap",
    "published": {"study": "imagenet64", "table": "Table 8"},
}
IMAGENET64 = {"dataset": "imagenet64", "corruption": "wrapped_noise_and_random_label"}


def of_imagenet64(methods=("standard", "lap")):
    """Three epochs of two seeds; the best test value of LAP is 0.9, in epoch 2 of seed 2."""
    cells = [{**IMAGENET64, "method": method, "metric": TOP_5, "seeds": [1, 2]} for method in methods]
    values = {1: [0.5, 0.6, 0.7], 2: [0.3, 0.9, 0.4]}
    measured = (("train", "objective"), ("validation", "top_5"), ("test", "top_5"), ("test", "top_1"))
    rows = [
        {**IMAGENET64, "method": method, "seed": seed, "epoch": epoch, "split": split, "metric": metric}
        | {"value": value}
        for method in methods
        for seed, of_seed in values.items()
        for epoch, value in enumerate(of_seed, start=1)
        for split, metric in measured
    ]
    return cells, pd.DataFrame(rows)


def drawn_of_figure_5(cells, results, **changes):
    artefact = validate(Artefact, FIGURE_5 | changes, "test")
    return figures.draw(artefact, cells, figures.Material("paper", results, published=PUBLISHED))


def test_curves_make_a_panel_each():
    figure = drawn_of_figure_5(*of_imagenet64())
    assert [panel.get_ylabel() for panel in figure.axes] == [
        *[
            "Training loss after weighting (cross-entropy)",
            "Validation top-5 accuracy (%)",
            "Test top-5 accuracy (%)",
        ]
    ]
    objective, _, test = ({line.get_label(): line for line in panel.lines} for panel in figure.axes)
    assert objective["LAP"].get_ydata() == pytest.approx([0.4, 0.75, 0.55])
    assert test["Standard"].get_ydata() == pytest.approx([40, 75, 55])
    assert words_outside(figure) == []


def test_a_dashed_line_marks_the_best_single_epoch_of_lap():
    cells, results = of_imagenet64()
    better = (results["method"] == "standard") & (results["seed"] == 1) & (results["epoch"] == 3)
    results.loc[better, "value"] = 0.99
    for panel in drawn_of_figure_5(cells, results).axes:
        assert [line.get_xdata()[0] for line in panel.lines if len(set(line.get_xdata())) == 1] == [2]
    for panel in drawn_of_figure_5(cells, results, marks_best_of=None).axes:
        assert not [line for line in panel.lines if len(set(line.get_xdata())) == 1]


def test_published_curves_are_thin_lines_beside_ours():
    """The best test value of all published LAP runs is that of epoch 32 (spec lap-experiments 6.9)."""
    figure = drawn_of_figure_5(*of_imagenet64())
    for panel in figure.axes:
        lines = {line.get_label(): line for line in panel.lines}
        theirs, ours = lines["LAP, published"], lines["LAP"]
        assert theirs.get_xdata().tolist() == list(range(1, 91))
        assert theirs.get_linewidth() < ours.get_linewidth()
    assert np.max(theirs.get_ydata()) == pytest.approx(70.6, abs=0.1)
    assert theirs.get_xdata()[np.argmax(theirs.get_ydata())] == 32


def test_published_curves_stand_beside_stand_in_data_too():
    cells, results = of_imagenet64()
    cells = [{**cell, "dataset": "digit_batches"} for cell in cells]
    figure = drawn_of_figure_5(
        cells, results.assign(dataset="digit_batches"), stand_in={"digit_batches": "imagenet64"}
    )
    assert {line.get_label() for line in figure.axes[2].lines} >= {"LAP", "LAP, published"}


def test_published_curves_alone_are_no_runs():
    cells, results = of_imagenet64()
    for panel in drawn_of_figure_5(cells, results.iloc[:0]).axes:
        assert [text.get_text() for text in panel.texts] == ["not run"]


def test_published_curves_are_those_of_the_summary():
    """The mean over the runs of each run's best epoch is the printed one."""
    curves = read_curves(PUBLISHED, "imagenet64")
    test = curves[(curves["split"] == "test") & (curves["metric"] == "top_5")]
    best = test.groupby(["method", "seed"])["value"].max().groupby("method").mean()
    assert best.round(2).to_dict() == {"lap": 70.61, "standard": 68.05}
    assert set(curves["split"]) == {"train", "validation", "test"}


def test_the_published_training_loss_is_that_after_weighting():
    """The last ones are 0.080 and 0.010 (spec lap-experiments 9): those of the objective."""
    curves = read_curves(PUBLISHED, "imagenet64")
    train = curves[curves["split"] == "train"]
    last = train[(train["metric"] == "objective") & (train["epoch"] == 90)]
    assert last.groupby("method")["value"].mean().round(2).to_dict() == {"lap": 0.01, "standard": 0.08}
    assert "loss" not in set(train["metric"])
    assert "loss" in set(curves.loc[curves["split"] == "test", "metric"])


# -- words around the panels ---------------------------------------------------------------------------


def words_outside(figure):
    """What is not wholly inside a figure, of its heading and its legends."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    with figures.style():
        figure.draw(renderer)
    whole = [text for text in figure.texts if text.get_text()]
    whole += [*figure.legends, *(legend for panel in figure.axes if (legend := panel.get_legend()))]
    boxes = [artist.get_window_extent(renderer) for artist in whole]
    assert len(boxes) > 1
    page = figure.bbox
    inside = [
        page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes
    ]
    return [artist for artist, is_inside in zip(whole, inside, strict=True) if not is_inside]


@pytest.mark.parametrize("scale", ["demo", "paper"])
@pytest.mark.parametrize("corruptions", [1, 2])
@pytest.mark.parametrize(
    "columns", [RIVALS[-3:], RIVALS, [*RIVALS, *(f"another_method_{n}" for n in range(9))]]
)
def test_legends_and_headings_lie_inside_the_figure(made_up, scale, corruptions, columns):
    made_up.description |= {"title": "Leaderboard: test accuracy (%) of every method on every corruption"}
    made_up.description |= {"stand_in": {"digits": "fashion_mnist", "diabetes": "california_housing"}}
    one = made_up.metrics[made_up.metrics["method"] == "lap"]
    metrics = pd.concat([one.assign(method=column) for column in columns], ignore_index=True)
    cells = [
        {**cell, "method": column} for cell in made_up.cells[: 2 * corruptions : 2] for column in columns
    ]
    figure = figures.learning_curves(described(made_up), cells, metrics, scale)
    assert words_outside(figure) == []
    legend = figure.legends[0] if figure.legends else figure.axes[0].get_legend()
    assert len(legend.get_texts()) == len(columns)


@pytest.mark.parametrize(
    ("scale", "notice"), [("demo", "Demo scale: stand-in data"), ("subset", "Subset scale: a subset, not a")]
)
def test_figure_1_has_its_notice_below_paper_scale_only(scale, notice):
    assert not figures.figure_1(seed=0).get_suptitle()
    figure = figures.figure_1(seed=0, scale=scale)
    assert figure.get_suptitle().startswith(notice)
    assert words_outside(figure) == []


@pytest.mark.parametrize("draw", [figures.learning_curves, figures.source_history])
def test_figures_at_demo_scale_begin_with_the_notice(made_up, draw):
    table = made_up.metrics if draw is figures.learning_curves else made_up.sources
    figure = draw(described(made_up), made_up.cells, table, "demo")
    assert " ".join(figure.get_suptitle().split()).startswith("Demo scale: stand-in data")


def test_nothing_to_draw_is_an_empty_figure(made_up):
    empty = made_up.metrics.iloc[:0]
    figures.as_png(figures.learning_curves(described(made_up), made_up.cells, empty, "paper"))
    figures.as_png(figures.source_history(described(made_up), [], made_up.sources, "paper"))
