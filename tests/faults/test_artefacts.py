"""F33 to F40: artefacts that are hostile, damaged, or of something else."""

import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from lapwing import files
from lapwing.corruption.base import CorruptionSettings, write_corruption
from lapwing.datasets.pickles import read_batch
from lapwing.files import Array
from lapwing.results.collect import aggregate, check_results
from lapwing.results.present import present
from tests.faults.outcomes import files_in, is_clear, refusal
from tests.results.conftest import MadeUp, axes_of
from tests.results.test_present import notebook_with
from tests.training.parts import cell_of, train, write_digits
from tests.workflow.conftest import STUDY, Project
from tests.workflow.test_damage import truncate

PART = {"method": "lap", "options": {"form": "loss", "history_length": 3}, "seeds": (2,)}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What a payload makes when it runs."""
    return tmp_path / "PAYLOAD_RAN"


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def hostile(mark: Path) -> bytes:
    content = pickle.dumps({"state": Payload(mark)})
    pickle.loads(content)  # noqa: S301 - it does run
    assert mark.exists()
    mark.unlink()
    return content


def trained(folder: Path, **more: Any) -> pd.DataFrame:
    """The metrics of a small part, trained unless its run is finished."""
    metrics, _, _ = train(folder, [cell_of(**PART)], **more)
    return metrics


def unfinished(folder: Path) -> tuple[pd.DataFrame, Path]:
    """The metrics of the part, and where its checkpoint belongs; the run itself is taken away again."""
    metrics = trained(folder)
    [run] = folder.glob("finished/*/seed=2")
    shutil.rmtree(run)
    return metrics, run.parent / "checkpoint-seeds=2.safetensors"


# -- F33, F34: what would run if it were trusted -------------------------------------------------------


@pytest.mark.fault("F33", "a pickle with a payload lies where a checkpoint belongs", "recovered")
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_pickle_as_checkpoint(tmp_path: Path, mark: Path, form: str) -> None:
    before, place = unfinished(tmp_path)
    content = hostile(mark)
    place.write_bytes(content)
    if form == "torch":
        torch.save({"state": Payload(mark)}, place)
    pd.testing.assert_frame_equal(trained(tmp_path), before, check_exact=True)
    assert not mark.exists()
    assert list(place.parent.glob("damaged-*"))


@pytest.mark.fault("F33", "a pickle with a payload lies where a finished run belongs", "recovered")
def test_pickle_as_finished_run(tmp_path: Path, mark: Path) -> None:
    before = trained(tmp_path)
    [table] = tmp_path.glob("finished/*/seed=2/metrics.parquet")
    table.write_bytes(hostile(mark))
    pd.testing.assert_frame_equal(trained(tmp_path), before, check_exact=True)
    assert not mark.exists()


@pytest.mark.fault("F33", "a batch of CIFAR, which is a pickle, holds a payload", "refused")
def test_pickle_as_batch(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(hostile(mark))
    assert "data_batch_1" in refusal(read_batch, tmp_path / "data_batch_1", (3, 32, 32), ("labels",))
    assert not mark.exists()


def code(mark: Path) -> str:
    """An expression that runs if it is evaluated."""
    return f"__import__('os').system('touch {mark}')"


@pytest.mark.fault("F34", "values given to a notebook are code, or close the quotes they are in", "recovered")
def test_value_that_is_code(tmp_path: Path, mark: Path) -> None:
    forms = ["{}", "'); {}; ('", '"""); {}; ("""', "\n{}\n", "{{{}}}"]
    values = [form.format(code(mark)) for form in forms]
    notebook = notebook_with(tmp_path / "x.ipynb", "cells = []", "print(repr(cells))")
    out = {"notebook": tmp_path / "made" / "x.ipynb", "html": tmp_path / "made" / "x.html"}
    present(notebook, {"cells": values}, out)
    assert not mark.exists()
    [printed] = nbformat.read(out["notebook"], 4).cells[-1].outputs
    assert printed.text.strip() == repr(values)


@pytest.mark.fault("F34", "the name of a notebook's value is code", "refused")
def test_name_that_is_code(tmp_path: Path, mark: Path) -> None:
    notebook = notebook_with(tmp_path / "x.ipynb", "artefact = ''")
    out = {"notebook": tmp_path / "made" / "x.ipynb", "html": tmp_path / "made" / "x.html"}
    assert "unknown parameter" in refusal(present, notebook, {f"{code(mark)}; artefact": 1}, out)
    assert not mark.exists()
    assert not (tmp_path / "made").exists()


@pytest.mark.workflow
@pytest.mark.fault("F34", "config.yaml, a study file or the command line ask for code to be run", "refused")
@pytest.mark.parametrize("where", ["command line", "study", "config"])
def test_configuration_that_is_code(project: Project, mark: Path, where: str) -> None:
    words = ["tiny"]
    if where == "command line":
        words += ["--config", f"scale={code(mark)}"]
    else:
        name = "studies/tiny.yaml" if where == "study" else "config.yaml"
        with (project.folder / name).open("a") as file:
            file.write(f"extra: !!python/object/apply:os.system ['touch {mark}']\n")
    text = project.run(*words, ok=False)
    assert not mark.exists()
    assert not (project.folder / "outputs").exists()
    if where != "config":  # which Snakemake itself reads, before us
        is_clear(text, "config: scale" if where == "command line" else "studies/tiny.yaml")
    else:
        assert "Config file is not valid JSON or YAML" in text


# -- F35, F36: damaged files -----------------------------------------------------------------------------


def longer_header(path: Path, length: int | None) -> None:
    """Have a safetensors file say that its header has `length` bytes; None: one more than it has."""
    content = path.read_bytes()
    [true] = struct.unpack("<Q", content[:8])
    path.write_bytes(struct.pack("<Q", true + 1 if length is None else length) + content[8:])


LENGTHS = pytest.mark.parametrize("length", [None, 10**8, 2**40, 2**64 - 1])


@pytest.mark.fault("F35", "prepared data say that their header is longer than the file, or memory", "refused")
@LENGTHS
def test_header_too_long(tmp_path: Path, length: int | None) -> None:
    data = write_digits(tmp_path)
    longer_header(data, length)
    sentence = refusal(trained, tmp_path, data=data)
    assert f"{data} is damaged" in sentence
    assert f"rm {data}" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.fault("F35", "a checkpoint says that its header is longer than the file, or memory", "recovered")
@LENGTHS
def test_header_of_a_checkpoint_too_long(tmp_path: Path, length: int | None) -> None:
    before, place = unfinished(tmp_path)
    files.write_arrays(place, {"state/x": np.zeros((1, 2))}, {"key": place.parent.name, "seeds": [2]})
    longer_header(place, length)
    pd.testing.assert_frame_equal(trained(tmp_path), before, check_exact=True)
    assert list(place.parent.glob("damaged-*"))


def study_tables(folder: Path) -> dict[str, Path]:
    return {kind: folder / "results" / f"{kind}.parquet" for kind in ("results", "sources", "runs")}


def refused_part(made_up: MadeUp, part: dict[str, list[Path]], folder: Path) -> str:
    """The sentence with which a part is refused; there are no results."""
    sentence = refusal(aggregate, **part, study=made_up.study, out=study_tables(folder))
    assert not (folder / "results").exists()
    return sentence


@pytest.mark.fault("F36", "a part's parquet is truncated, anywhere", "refused")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["metrics", "sources"])
def test_truncated_parquet(made_up: MadeUp, tmp_path: Path, kind: str, share: float) -> None:
    part = made_up.write(tmp_path / "part")
    [path] = part[kind]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    sentence = refused_part(made_up, part, tmp_path)
    assert f"{path} is damaged" in sentence
    assert f"rm {path}" in sentence


@pytest.mark.fault("F36", "a finished run's parquet is truncated", "recovered")
def test_truncated_parquet_of_a_finished_run(tmp_path: Path) -> None:
    before = trained(tmp_path)
    [table] = tmp_path.glob("finished/*/seed=2/sources.parquet")
    truncate(table)
    pd.testing.assert_frame_equal(trained(tmp_path), before, check_exact=True)


# -- F37, F38: whole files that say what cannot be -------------------------------------------------------


@pytest.mark.fault("F37", "a metric is NaN or infinite", "refused")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_metric_that_is_not_finite(made_up: MadeUp, tmp_path: Path, value: float) -> None:
    made_up.metrics.loc[3, "value"] = value
    sentence = refused_part(made_up, made_up.write(tmp_path / "part"), tmp_path)
    assert "table_1: a value is not finite: dataset=fashion_mnist" in sentence


def altered(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a file of arrays again, whole, with other arrays."""
    arrays, about = files.read_arrays(path)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays)
    path.unlink()
    files.write_arrays(path, arrays, about)


def refused_training(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The sentence with which training on an altered file is refused; no run is finished."""
    data, cell, decided = write_digits(folder), cell_of(**PART), folder / "decided.safetensors"
    settings = CorruptionSettings.model_validate(cell["settings"]["corruption"])
    write_corruption(data, settings, 2, decided)
    if name == "test/targets":
        altered(data, change)
        write_corruption(data, settings, 2, decided)
    else:
        altered(decided, change)
    sentence = refusal(train, folder, [cell], corrupted=[decided])
    assert not list(folder.glob("finished/*/seed=2"))
    assert not (folder / "out").exists()
    return sentence


@pytest.mark.fault("F38", "a label lies outside its range: -100 means 'leave out' to torch", "refused")
@pytest.mark.parametrize("label", [10, -1, -100])
@pytest.mark.parametrize("name", ["targets", "test/targets"])
def test_label_outside_range(tmp_path: Path, name: str, label: int) -> None:
    sentence = refused_training(tmp_path, name, lambda arrays: arrays[name].__setitem__(3, label))
    assert f"there is a target {label}, which must lie between 0 and 9" in sentence
    assert "rm " in sentence


@pytest.mark.fault("F38", "a label of the prepared training data lies outside its range", "refused")
def test_label_of_prepared_data_outside_range(tmp_path: Path) -> None:
    data = write_digits(tmp_path)
    altered(data, lambda arrays: arrays["train/targets"].__setitem__(3, 10))
    settings = cell_of()["settings"]["corruption"]
    sentence = refusal(write_corruption, data, settings, 2, tmp_path / "decided.safetensors")
    assert "training row 3 of digits is not a label between 0 and 9 (it is 10)" in sentence
    assert not (tmp_path / "decided.safetensors").exists()


@pytest.mark.fault(
    "F38", "a source is negative, beyond the last, missing, or not there for each row", "refused"
)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda arrays: arrays["source"].__setitem__(3, -1), "a source -1, which must lie between 0 and 4"),
        (lambda arrays: arrays["source"].__setitem__(3, 5), "a source 5, which must lie between 0 and 4"),
        (lambda arrays: arrays.pop("source"), "it holds no source"),
        (lambda arrays: arrays.update(source=arrays["source"][:-1]), "320 positions have (319,)"),
        (lambda arrays: arrays.update(source=arrays["source"] + 0.5), "a source is no whole number"),
    ],
    ids=["negative", "beyond", "missing", "short", "fraction"],
)
def test_source_that_cannot_be(tmp_path: Path, change: Callable[[dict[str, Any]], None], told: str) -> None:
    assert told in refused_training(tmp_path, "source", change)


def rows(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.fault("F38", "a set of rows to test or to learn from holds one that is not there", "refused")
@pytest.mark.parametrize(
    ("further", "told"),
    [
        ({"meta_index": rows(0, -1)}, "a clean row -1, which must lie between 0 and 319"),
        ({"meta_index": rows(0, 320)}, "a clean row 320, which must lie between 0 and 319"),
        ({"test_index": rows(0, -1), "test_targets": rows(0, 0)}, "a test row -1, which must lie"),
        ({"test_index": rows(0, 100), "test_targets": rows(0, 0)}, "a test row 100, which must lie"),
        ({"test_index": rows(0, 1), "test_targets": rows(0)}, "2 positions have (1,) as the shape of"),
        ({"validation_index": rows(-1), "validation_targets": rows(0)}, "a row -1, which must lie"),
        ({"is_corrupted": np.zeros(319, bool)}, "320 positions have (319,) as the shape of their is_corr"),
        ({"noise_variance": np.ones(319)}, "320 positions have (319,) as the shape of their noise var"),
        ({"noise_variance": np.full(320, np.nan)}, "a noise variance is not finite"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, further: dict[str, Array], told: str) -> None:
    assert told in refused_training(tmp_path, "decided", lambda arrays: arrays.update(further))


# -- F39: notebooks --------------------------------------------------------------------------------------


def add_cell(path: Path, code: str) -> None:
    """Put a cell that has not run at the end of a notebook."""
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    path.write_text(nbformat.writes(notebook))


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F39", "a notebook of results has an extra cell: it is never run", "recovered")
def test_extra_cell_in_a_notebook_of_results(made: Project, mark: Path) -> None:
    """Only the repository's own notebooks are run; one of results is written over."""
    results = made.folder / "outputs" / "paper" / "notebooks"
    table = made.folder / "outputs" / "paper" / "tables" / "tiny.md"
    before = table.read_text()
    payload = f"import os; os.system('touch {mark}')"
    add_cell(results / "tiny.ipynb", payload)
    shutil.copy(results / "tiny.ipynb", results / "half-run-tiny.ipynb")
    table.unlink()
    made.run()
    assert not mark.exists()
    assert payload not in (results / "tiny.ipynb").read_text()
    assert table.read_text() == before


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F39", "a cell that fails is added to a notebook of the repository", "refused")
def test_extra_cell_that_fails(made: Project) -> None:
    add_cell(made.folder / "notebooks" / "artefact.ipynb", "raise ValueError('an extra cell')")
    text = made.run(ok=False)
    is_clear(text, "notebooks/artefact.ipynb", "ValueError: an extra cell")
    assert not (made.folder / "outputs" / "paper" / "tables" / "tiny.md").exists()
    assert not (made.folder / "outputs" / "paper" / "notebooks" / "tiny.ipynb").exists()


@pytest.mark.fault("F39", "an extra cell skips what follows it, so that the notebook is half run", "refused")
def test_extra_cell_that_ends_the_kernel(tmp_path: Path) -> None:
    notebook = notebook_with(tmp_path / "x.ipynb", "a = 1", "import os; os._exit(0)", "print(a)")
    out = {"notebook": tmp_path / "made" / "x.ipynb", "html": tmp_path / "made" / "x.html"}
    assert f"{notebook}: its kernel ended" in refusal(present, notebook, {}, out)
    assert files_in(tmp_path / "made") <= {"half-run-x.ipynb"}


# -- F40: of another configuration -----------------------------------------------------------------------


@pytest.mark.fault("F40", "a part's metrics are of another configuration with the same axes", "refused")
@pytest.mark.parametrize("kind", ["metrics", "sources"])
def test_metrics_of_another_configuration(made_up: MadeUp, tmp_path: Path, kind: str) -> None:
    part = made_up.write(tmp_path / "part")
    cells = [{"axes": axes_of(cell), "seeds": cell["seeds"], "key": "another"} for cell in made_up.cells]
    files.write_table(part[kind][0], getattr(made_up, kind), {"cells": cells})
    assert f"{part[kind][0]}: it holds values of other runs" in refused_part(made_up, part, tmp_path)


@pytest.mark.fault("F40", "a whole part is of another configuration with the same axes", "refused")
def test_part_of_another_configuration(made_up: MadeUp, tmp_path: Path) -> None:
    part = made_up.write(tmp_path / "part")
    files.write_json(part["runs"][0], [{**run, "settings": {"epochs": 9}} for run in made_up.runs])
    sentence = refused_part(made_up, part, tmp_path)
    assert "seed=2 was trained with other settings than are asked for now" in sentence
    assert f"rm -r {tmp_path / 'part'}" in sentence


@pytest.mark.fault("F40", "the results of a study are those of another selection or scale", "refused")
def test_results_of_another_configuration(made_up: MadeUp, tmp_path: Path) -> None:
    out = study_tables(tmp_path) | {"results": tmp_path / "table_1.parquet"}
    aggregate(**made_up.write(tmp_path / "part"), study=made_up.study, out=out)
    now = {"table_1": files.content_key({**made_up.study, "settings": ["others"]})}
    sentence = refusal(check_results, {"results": [out["results"]]}, now)
    assert f"{out['results']} holds something else than the results of table_1" in sentence


@pytest.mark.fault("F40", "a finished run, or one table of it, has the name of another", "recovered")
@pytest.mark.parametrize("name", ["run.json", "metrics.parquet", "sources.parquet"])
def test_finished_run_of_another_configuration(tmp_path: Path, name: str) -> None:
    before = trained(tmp_path)
    train(tmp_path, [cell_of(**PART, epochs=2)], out="other")
    [own] = [path.parent for path in tmp_path.glob("finished/*/seed=2/run.json") if epochs_of(path) == 4]
    [other] = [path.parent for path in tmp_path.glob("finished/*/seed=2/run.json") if epochs_of(path) == 2]
    shutil.copy(other / name, own / name)
    pd.testing.assert_frame_equal(trained(tmp_path), before, check_exact=True)
    assert list(own.parent.glob("damaged-*"))


def epochs_of(path: Path) -> int:
    return files.read_json(path)["settings"]["epochs"]


@pytest.mark.fault("F40", "a corruption artefact was made from other data, or for another seed", "refused")
@pytest.mark.parametrize("what", ["data", "seed"])
def test_corruption_of_another_configuration(tmp_path: Path, what: str) -> None:
    data, cell, decided = write_digits(tmp_path), cell_of(**PART), tmp_path / "decided.safetensors"
    write_corruption(data, cell["settings"]["corruption"], 4 if what == "seed" else 2, decided)
    if what == "data":
        altered(data, lambda arrays: arrays["train/inputs"].__setitem__(0, 1))
    sentence = refusal(train, tmp_path, [cell], corrupted=[decided])
    told = {"data": f"{decided} was made from other data than {data}", "seed": "of seed 2 is not among"}
    assert told[what] in sentence


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F40", "the outputs of another scale are copied under those of this one", "refused")
def test_outputs_of_another_scale(made: Project) -> None:
    """The study has fewer epochs there, and the same axes; Snakemake finds every file but the last ones."""
    made.write_study({**STUDY, "scales": {"demo": {"conditions": {"epochs": 2}}}})
    outputs = made.folder / "outputs"
    shutil.copytree(outputs / "paper", outputs / "demo", copy_function=shutil.copy2)
    shutil.rmtree(outputs / "demo" / "tables")
    (outputs / "demo" / "report.html").unlink()
    words = ["--rerun-triggers", "mtime", "--config", "scale=demo"]
    is_clear(made.run(*words, ok=False), "outputs/demo/results/tiny.parquet holds something else")
    shutil.rmtree(outputs / "demo" / "results")
    is_clear(made.run(*words, ok=False), "was trained with other settings", "rm -r outputs/demo/runs/tiny/")
    shutil.rmtree(outputs / "demo" / "runs")
    made.run(*words)
    assert pd.read_parquet(outputs / "demo" / "results" / "tiny.parquet")["epoch"].max() == 2
