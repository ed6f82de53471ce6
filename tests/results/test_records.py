"""Single records are taken as the learner saw them, and drawn in true size."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lapwing import files
from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, corrupt_inputs, write_corruption
from lapwing.errors import UserError
from lapwing.results import figures
from lapwing.results.artefact import Artefact
from lapwing.results.excerpt import ROLES, check_excerpt, excerpt, read_excerpt
from lapwing.schema import validate
from tests.results.conftest import TOP_1

SEED, SOURCES, OF_A_SOURCE = 3, 5, 6
ASKED = {"hearts": "abc"}
"""Of the tables of results."""
PLACES = ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II"]
"""The leads row by row, and that of the strip below."""
LEADS = ["V6", "V5", "V4", "V3", "V2", "V1", "AVF", "AVL", "AVR", "III", "II", "I"]
"""Not in the usual order, and spelt as in the headers of PTB-XL."""
RECORDING = {"leads": LEADS, "units": ["mV"] * 12, "frequency": 100}


def artefact(**changes):
    described = {"kind": "figure", "title": "Hearts", "draws": "records", "classes": ["normal", "abnormal"]}
    return validate(Artefact, described | changes, "test")


def prepared(folder, samples=1000, leads=12, recording=RECORDING):
    """Thirty records, six of each of five sources."""
    count = SOURCES * OF_A_SOURCE
    generator, seconds = np.random.default_rng(0), np.arange(samples) / 100
    phases = generator.uniform(0, 7, (count, leads, 1))
    path = folder / "hearts.safetensors"
    arrays = {
        "train/inputs": np.sin(8 * seconds + phases).astype(np.float32),
        "train/targets": np.arange(count) % 2,
        "train/source": np.arange(count) % SOURCES,
        "train/record": 1000 + np.arange(count),
        "test/targets": np.array([0, 1]),
        "test/inputs": np.zeros((2, leads, samples), np.float32),
    }
    about = {"dataset": "hearts", "version": 1, "task": "classification", "classes": 2, "scale": 1.0}
    about |= {"recording": recording} if recording else {}
    files.write_arrays(path, arrays, about)
    return path, arrays


class Study:
    """Two cells of LAP, of one and of two corrupt sources, with their data and what was seen of them."""

    def __init__(self, folder, corruption="added_noise", **data):
        self.folder, (path, self.arrays) = folder, prepared(folder, **data)
        self.data, self.cells, runs, sources, self.corrupted = [path], [], [], [], []
        for corrupt in (1, 2):
            axes = {"dataset": "hearts", "corruption": corruption, "n_corrupt": corrupt, "method": "lap"}
            self.cells.append({**axes, "metric": TOP_1, "seeds": [SEED]})
            settings = CorruptionSettings(
                dataset="hearts",
                dataset_version=1,
                sources={"number": SOURCES, "corrupt": corrupt, "assignment": "given"},
                name=corruption,
                version=corruptions.get(corruption).version,
            )
            path = folder / f"{corrupt}.safetensors"
            write_corruption(self.data[0], settings, SEED, path)
            self.corrupted.append(path)
            dumped = files.canonical({"corruption": settings.model_dump(mode="json")})
            runs.append({**axes, "seed": SEED, "settings": dumped, "diverged_epoch": None})
            flags = files.read_arrays(path)[0]["is_corrupt_source"]
            sources += [{**axes, **row} for row in history(flags)]
        self.sources, self.runs = pd.DataFrame(sources), pd.DataFrame(runs)
        measured = {"seed": SEED, "epoch": 1, "split": "test", "metric": "top_1", "value": 0.5}
        axes = [{axis: cell[axis] for axis in cell if axis not in ("metric", "seeds")} for cell in self.cells]
        self.results = pd.DataFrame([each | measured for each in axes])

    def tables(self):
        """The files of its results, by kind."""
        for kind, ending in (("results", ""), ("sources", "_sources"), ("runs", "_runs")):
            path = self.folder / f"hearts{ending}.parquet"
            files.write_table(path, getattr(self, kind), {"study": "hearts", "kind": kind, "asked": "abc"})
            yield kind, [path]

    def excerpt(self):
        """The file of its records."""
        out, tables = self.folder / "excerpt.safetensors", dict(self.tables())
        inputs = {"sources": tables["sources"], "runs": tables["runs"]}
        inputs |= {"data": self.data, "corrupted": self.corrupted}
        excerpt("hearts", self.cells, **inputs, asked=ASKED, out=out)
        return out

    def shown(self):
        return read_excerpt(self.excerpt())

    @property
    def material(self):
        return figures.Material("paper", excerpt=self.shown())


def history(flags):
    """Two epochs; the later counts, in which the corrupt sources lie above all others."""
    for epoch in (1, 2):
        for source, is_corrupt in enumerate(flags):
            counted = (100.0 * is_corrupt + source) * (epoch - 1)
            yield {
                "seed": SEED, "epoch": epoch, "step": 10 * epoch, "source": source, "is_corrupt": is_corrupt,
                "mean_loss": 1.0, "unreliability": counted, "multiplier": 0.5,
            }  # fmt: skip


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_records_are_of_the_most_the_median_clean_and_the_least_unreliable_source(study):
    flags = files.read_arrays(study.corrupted[1])[0]["is_corrupt_source"]
    clean, corrupt = np.flatnonzero(~flags), np.flatnonzero(flags)
    examples = study.shown().examples
    assert [example.role for example in examples] == list(ROLES)
    assert [example.source for example in examples] == [corrupt.max(), clean[2], clean[0]]
    assert [example.is_corrupt for example in examples] == [True, False, False]
    assert len(corrupt) == 2  # the run with the most corrupt sources


def test_of_equally_unreliable_sources_the_one_with_the_higher_loss_is_the_worse(study):
    study.sources["unreliability"] = 0.0
    study.sources["mean_loss"] = [float(-source) for source in study.sources["source"]]
    assert [example.source for example in study.shown().examples][::2] == [0, SOURCES - 1]


def test_signals_are_those_that_the_learner_sees(study):
    decided, about = files.read_arrays(study.corrupted[1])
    most, *others = study.shown().examples
    row = most.number - 1000
    [position] = np.flatnonzero(decided["index"] == row)
    mine = study.arrays["train/inputs"][row]
    seen = corrupt_inputs(about["input_rule"], mine[None], np.array([position]))[0]
    assert most.is_altered
    assert np.array_equal(most.signals, seen)
    assert not np.array_equal(most.signals, mine)
    for example in others:
        assert not example.is_altered
        assert np.array_equal(example.signals, study.arrays["train/inputs"][example.number - 1000])


def test_labels_given_and_true_are_told_apart(tmp_path):
    study = Study(tmp_path, corruption="random_label")
    decided, _ = files.read_arrays(study.corrupted[1])
    shown = study.shown()
    for example in shown.examples:
        row = example.number - 1000
        assert example.true == study.arrays["train/targets"][row]
        assert example.given == decided["targets"][decided["index"] == row][0]
        assert not example.is_altered
    changed = decided["targets"] != study.arrays["train/targets"][decided["index"]]
    assert changed.any()
    for source, share in shown.sources.set_index("source")["relabelled"].items():
        assert share == changed[decided["source"] == source].mean()


def test_sources_of_the_run_are_listed_from_the_most_unreliable_on(study):
    shown = study.shown()
    assert shown.sources["unreliability"].is_monotonic_decreasing
    assert (shown.sources["records"] == OF_A_SOURCE).all()
    assert shown.sources["is_corrupt"].tolist() == [True, True, False, False, False]
    cells = re.findall("<td>(.*?)</td>", shown.as_html())
    of_source = len(cells) // SOURCES
    assert cells[1::of_source] == ["yes", "yes", "no", "no", "no"]
    assert cells[4::of_source] == ["100.00", "100.00", "0.00", "0.00", "0.00"]


# -- the drawing -----------------------------------------------------------------------------------------


def traces(panel):
    """The lines of a panel by lead; the strip below is the last of its lead."""
    return [(line.get_label(), *line.get_data()) for line in panel.lines if line.get_label() in PLACES]


def signal(example, lead):
    return example.signals[LEADS.index(lead.upper())]


def test_leads_stand_in_the_usual_places_with_a_strip_below(study):
    panel = figures.draw(artefact(), study.cells, study.material).axes[0]
    drawn = traces(panel)
    assert [lead for lead, *_ in drawn] == PLACES
    assert {text.get_text() for text in panel.texts} >= set(PLACES)
    starts = [x[0] for _, x, _ in drawn]
    assert starts[:4] == pytest.approx([starts[0] + 62.5 * column for column in range(4)])
    assert starts[12] == starts[0]


@pytest.mark.parametrize("frequency", [100, 80])
def test_a_second_is_25_mm_and_a_millivolt_10(tmp_path, frequency):
    study = Study(tmp_path, recording=RECORDING | {"frequency": frequency})
    example = study.shown().examples[0]
    panel = figures.draw(artefact(), study.cells, study.material).axes[0]
    drawn = traces(panel)
    for place, (lead, x, y) in enumerate(drawn):
        length = 2.5 * frequency
        start = 0 if place == 12 else int(length) * (place % 4)  # the leads of a row follow one another
        seen = signal(example, lead)[start : start + len(y)]
        assert len(y) == (4 * length if place == 12 else length)
        assert np.diff(x) == pytest.approx(25 / frequency)
        assert np.diff(y) == pytest.approx(10 * np.diff(seen), abs=1e-4)


def test_paper_is_drawn_in_true_size_and_begins_below_the_heading(study):
    figure = figures.draw(artefact(), study.cells, study.material)
    renderer = FigureCanvasAgg(figure).get_renderer()
    with figures.style():
        figure.draw(renderer)
    boxes = [panel.get_window_extent(renderer) for panel in figure.axes]
    for panel, box in zip(figure.axes, boxes, strict=True):
        width, height = (panel.get_xlim()[1], panel.get_ylim()[1])
        assert (box.width, box.height) == pytest.approx(
            (width / 25.4 * figure.dpi, height / 25.4 * figure.dpi)
        )
        title = panel._left_title.get_window_extent(renderer)
        assert title.x1 <= figure.bbox.x1
    heading = figure._suptitle.get_window_extent(renderer)
    assert heading.y1 <= figure.bbox.y1
    assert heading.y0 >= figure.axes[0]._left_title.get_window_extent(renderer).y1
    assert boxes[0].y0 > boxes[1].y1
    assert boxes[-1].y0 >= 0


def test_picture_is_small_enough_for_a_page(tmp_path):
    study = Study(tmp_path, corruption="noise_and_label_flip")
    figures.save(figures.draw(artefact(), study.cells, study.material), {"png": tmp_path / "hearts.png"})
    assert (tmp_path / "hearts.png").stat().st_size < 400_000
    with Image.open(tmp_path / "hearts.png") as image:  # in true size: 6 dots for a millimetre
        assert image.info["dpi"] == pytest.approx((152.4, 152.4), abs=0.1)


def test_every_row_has_a_pulse_of_one_millivolt_for_a_fifth_of_a_second(study):
    panel = figures.draw(artefact(), study.cells, study.material).axes[0]
    pulses = [line.get_data() for line in panel.lines if line.get_label() == "_pulse"]
    assert len(pulses) == 4
    for x, y in pulses:
        assert np.ptp(y) == pytest.approx(10)
        high = x[y == y.max()]
        assert np.ptp(high) == pytest.approx(5)


def test_short_records_begin_anew_in_every_column(tmp_path):
    """The demo's have 256 values, which is one column."""
    study = Study(tmp_path, samples=256)
    example = study.shown().examples[0]
    panel = figures.draw(artefact(), study.cells, study.material).axes[0]
    for place, (lead, _, y) in enumerate(traces(panel)):
        assert len(y) == (256 if place == 12 else 250)
        seen = signal(example, lead)[: len(y)]
        assert np.diff(y) == pytest.approx(10 * np.diff(seen), abs=1e-4)
    assert "each lead from the beginning" in panel.texts[-1].get_text()


def test_title_says_source_unreliability_and_both_labels(study):
    example = study.shown().examples[0]
    title = figures.draw(artefact(), study.cells, study.material).axes[0].get_title(loc="left")
    assert title.startswith(f"Source {example.source} (corrupt), the most unreliable: unreliability 10")
    label = ["normal", "abnormal"][example.true]
    assert title.endswith(f"label given {label}, true label {label}; signals corrupted")


# -- what is not there -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "sentence"),
    [
        (None, "the prepared data of hearts do not say their leads, units and sampling frequency"),
        (RECORDING | {"leads": ["X", *LEADS[1:]]}, "the prepared data of hearts have no lead V6"),
        (RECORDING | {"units": ["uV", *["mV"] * 11]}, "lead V6 .* hearts is in uV, and mV are drawn"),
    ],
)
def test_records_of_other_signals_are_one_sentence(tmp_path, recording, sentence):
    study = Study(tmp_path, recording=recording)
    with pytest.raises(UserError, match=rf"^Hearts: draws records: [^\n]*{sentence}[^\n]*\.$"):
        figures.draw(artefact(), study.cells, study.material)


@pytest.mark.parametrize(("lost", "what"), [("corrupted", "corruption"), ("data", "prepared dataset")])
def test_missing_data_of_the_run_are_one_sentence(study, lost, what):
    setattr(study, lost, [])
    with pytest.raises(
        UserError, match=f"^hearts: .*n_corrupt.: 2.*seed 3, there is no {what} among 0 files"
    ):
        study.excerpt()


def test_without_runs_the_figure_says_so(study):
    figure = figures.draw(artefact(), study.cells, figures.Material("paper"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["not run"]


def test_settings_tell_the_corruption_artefacts_of_a_seed_apart(study):
    """Both cells have the same seed, dataset and corruption; only the number of corrupt sources differs."""
    abouts = [json.dumps(files.read_about(path)["settings"]) for path in study.corrupted]
    assert abouts[0] != abouts[1]
    study.corrupted.reverse()
    assert study.shown().sources["is_corrupt"].sum() == 2


def not_counted(study):
    """All methods of the study are of the kind that counts no unreliability."""
    study.sources["unreliability"] = np.nan


def not_selected(study):
    """None of its cells was selected."""
    study.cells = [cell | {"seeds": []} for cell in study.cells]


def diverged(study):
    """All of its runs diverged."""
    study.runs["diverged_epoch"] = 1


@pytest.mark.parametrize("lose", [not_counted, not_selected, diverged])
def test_without_a_run_that_is_shown_there_is_nothing_in_the_file(study, lose):
    lose(study)
    shown = study.shown()
    assert not shown.examples
    assert shown.sources.empty
    figure = figures.draw(artefact(), study.cells, study.material)
    assert [text.get_text() for text in figure.axes[0].texts] == ["not run"]


def test_of_runs_that_diverged_nothing_is_shown(study):
    study.runs["diverged_epoch"] = [None, 1]  # the second has more corrupt sources
    assert study.shown().sources["is_corrupt"].sum() == 1


# -- the file --------------------------------------------------------------------------------------------


def test_file_is_small_and_says_what_it_was_made_of(study):
    path = study.excerpt()
    assert path.stat().st_size < 200_000  # three records; the prepared data have thirty
    check_excerpt(path, "hearts", study.cells, ASKED)


@pytest.mark.parametrize(
    "change", [{"artefact": "lungs"}, {"cells": []}, {"asked": {"hearts": "of another scale"}}]
)
def test_file_that_was_made_of_something_else_is_refused(study, change):
    path = study.excerpt()
    told = {"artefact": "hearts", "cells": study.cells, "asked": ASKED} | change
    with pytest.raises(UserError, match=rf"holds something else than the records of .*: rm {path}$"):
        check_excerpt(path, **told)


def test_tables_that_were_made_of_something_else_are_refused(study):
    files.write_table(study.folder / "hearts_runs.parquet", study.runs, {"study": "lungs", "kind": "runs"})
    arguments = {"sources": [], "runs": [study.folder / "hearts_runs.parquet"], "data": [], "corrupted": []}
    with pytest.raises(UserError, match="holds something else than the runs of hearts"):
        excerpt("hearts", study.cells, **arguments, asked=ASKED, out=study.folder / "excerpt.safetensors")
    assert not (study.folder / "excerpt.safetensors").exists()


def test_damaged_file_is_named(study):
    path = study.excerpt()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(files.DamagedFile, match=rf"^{path} is damaged"):
        read_excerpt(path)
