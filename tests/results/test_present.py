"""Notebooks run whole or leave nothing under the declared names."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest

from lapwing import files
from lapwing.errors import UserError
from lapwing.results import present as module
from lapwing.results.collect import aggregate
from lapwing.results.present import parameters_of, present
from tests.results.conftest import PUBLISHED, ROOT
from tests.results.test_records import Study, artefact

GENERAL = ROOT / "notebooks" / "artefact.ipynb"


def outside_references(page: str) -> list[str]:
    """What a page would load from elsewhere."""
    loads = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)([^"']+)["']""", page)
    return loads + re.findall(r"url\((?!data:)[^)]*\)|@import|<script|<link|<iframe", page)


def notebook_with(path: Path, *codes: str) -> Path:
    """A notebook whose first cell holds its parameters."""
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    cells[0].metadata["tags"] = ["parameters"]
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    return path


def out(folder: Path) -> dict[str, Path]:
    return {"notebook": folder / "made" / "x.ipynb", "html": folder / "made" / "x.html"}


def test_general_notebook_makes_a_table_from_results(made_up, tmp_path, monkeypatch):
    (tmp_path / "published").symlink_to(PUBLISHED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    made = {kind: Path("results") / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate(**made_up.write(Path("part")), study=made_up.study, out=made)
    parameters = {
        "artefact": "table_1",
        "description": made_up.description,
        "cells": made_up.cells,
        "scale": "demo",
        **{kind: [str(path)] for kind, path in made.items()},
        "published": "published",
        "table": {kind: f"tables/table_1.{kind}" for kind in ("csv", "md", "tex")},
    }
    present(GENERAL, parameters, out(Path()))
    page, notebook = (path.read_text() for path in (out(Path())["html"], out(Path())["notebook"]))
    assert "78.00 ± 0.10" in Path("tables/table_1.md").read_text()
    assert "78.00 ± 0.10" in page
    assert Path("tables/table_1.md").read_text().startswith("Demo scale: stand-in data")
    assert page.count("data:image/png;base64,") == 2
    assert page.count("<img") == page.count("alt=")
    assert not outside_references(page)
    assert str(tmp_path) not in notebook
    assert str(ROOT) not in notebook
    assert sorted(path.name for path in Path("made").iterdir()) == ["x.html", "x.ipynb"]


def shown_by(notebook, made_up, **parameters):
    """The page that a notebook makes from the made-up results, in the current folder."""
    Path("published").symlink_to(PUBLISHED)
    made = {kind: Path("results") / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate(**made_up.write(Path("part")), study=made_up.study, out=made)
    paths = {kind: [str(path)] for kind, path in made.items()}
    shared = {"description": made_up.description, "cells": made_up.cells, "scale": "paper"}
    present(notebook, {**shared, **paths, **parameters}, out(Path()))
    return out(Path())["html"].read_text()


@pytest.mark.parametrize(
    ("draws", "images"), [("learning_curves", 2), ("source_history", 2), ("multiplier_traces", 3)]
)
def test_general_notebook_draws_what_a_figure_says(made_up, tmp_path, monkeypatch, draws, images):
    """Beside it the learning curves and the history of the sources, each once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    made_up.description = {"kind": "figure", "title": "Figure", "rows": ["corruption"], "draws": draws}
    page = shown_by(GENERAL, made_up, figure={"svg": "figures/x.svg"})
    assert Path("figures/x.svg").is_file()
    assert page.count("data:image/png;base64,") == page.count("alt=") == images


def test_leaderboard_has_its_own_notebook(made_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    page = shown_by(ROOT / "notebooks" / "leaderboard.ipynb", made_up, table={"md": "tables/x.md"})
    assert "mean rank over 2 rows" in page
    assert "time of a run, standard = 1" in Path("tables/x.md").read_text()
    assert page.count("data:image/png;base64,") == 2


def test_figure_1_has_its_own_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    figure = {kind: f"figures/figure_1.{kind}" for kind in ("pdf", "png", "svg")}
    present(ROOT / "notebooks" / "figure_1.ipynb", {"figure": figure, "scale": "demo"}, out(tmp_path))
    assert all(Path(path).stat().st_size > 10_000 for path in figure.values())
    assert not outside_references(out(tmp_path)["html"].read_text())


def test_notebooks_are_stored_without_outputs_and_take_the_same_parameters():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path
        assert set(parameters_of(GENERAL)) <= set(parameters_of(path)), path


def test_failing_notebook_is_one_sentence_and_leaves_no_output(tmp_path):
    source = notebook_with(tmp_path / "x.ipynb", "a = 1", "b = 2", "{}['no_such_column']")
    with pytest.raises(UserError) as error:
        present(source, {"a": 2}, out(tmp_path))
    kept = tmp_path / "made" / "half-run-x.ipynb"
    assert str(error.value) == f"{source}, cell 4: KeyError: 'no_such_column'; see {kept}"
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    present(notebook_with(tmp_path / "x.ipynb", "a = 1"), {}, out(tmp_path))
    assert not kept.exists()


def test_what_a_user_can_put_right_is_said_as_it_is(tmp_path):
    code = "from lapwing.errors import UserError\nraise UserError('There is no file x.')"
    source = notebook_with(tmp_path / "x.ipynb", "a = 1", code)
    with pytest.raises(UserError, match="cell 2: There is no file x; see"):
        present(source, {}, out(tmp_path))


def test_kernel_that_dies_is_one_sentence(tmp_path):
    source = notebook_with(tmp_path / "x.ipynb", "a = 1", "import os\nos._exit(9)")
    with pytest.raises(UserError, match="its kernel ended"):
        present(source, {}, out(tmp_path))
    assert not out(tmp_path)["notebook"].exists()


def test_half_run_notebook_is_refused(tmp_path, monkeypatch):
    """What papermill leaves when it is killed: valid, and not done."""
    source = notebook_with(tmp_path / "x.ipynb", "a = 1")

    def killed(notebook, half_run, *_):
        executed = nbformat.read(notebook, as_version=4)
        executed.cells[0].metadata["papermill"] = {"status": "running"}
        return executed

    monkeypatch.setattr(module, "_execute", killed)
    with pytest.raises(UserError, match="cell 1 is running"):
        present(source, {}, out(tmp_path))
    assert not out(tmp_path)["notebook"].exists()


@pytest.mark.parametrize("name", ["x = 1; import os", "unknown", "__import__('os')", "a b"])
def test_names_that_are_no_parameters_are_refused_before_anything_runs(tmp_path, name):
    source = notebook_with(tmp_path / "x.ipynb", "a = 1")
    with pytest.raises(UserError, match="unknown parameter"):
        present(source, {name: 1}, out(tmp_path))
    assert not (tmp_path / "made").exists()


def test_hostile_values_stay_values(tmp_path):
    value = '\'"""\nimport os; os.abort() #'
    code = f"assert a == {value!r}"
    present(notebook_with(tmp_path / "x.ipynb", "a = 1", code), {"a": value}, out(tmp_path))
    assert "<script>" not in out(tmp_path)["html"].read_text()


def test_kernel_is_this_interpreter_whatever_is_installed(tmp_path, monkeypatch):
    """A kernel of the name python3 that cannot start, and a home that keeps no history."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    files.write_text(kernel / "kernel.json", json.dumps({"argv": ["false"], "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    code = "import os, sys\nfrom pathlib import Path\nPath(where).write_text(sys.executable)"
    source = notebook_with(tmp_path / "x.ipynb", "where = ''", code)
    present(source, {"where": str(tmp_path / "which")}, out(tmp_path))
    assert os.path.samefile((tmp_path / "which").read_text(), os.sys.executable)
    assert not (tmp_path / "ipython").exists()


def test_a_notebook_of_results_imports_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    code = (
        "import sys\nfrom lapwing.results import collect, figures, layout, present, report, tables\n"
        "assert 'torch' not in sys.modules"
    )
    present(notebook_with(tmp_path / "x.ipynb", "a = 1", code), {}, out(tmp_path))


def test_what_is_no_notebook_is_one_sentence(tmp_path):
    (tmp_path / "x.ipynb").write_text("{")
    with pytest.raises(UserError, match="is no notebook"):
        present(tmp_path / "x.ipynb", {}, out(tmp_path))
    with pytest.raises(UserError, match="There is no notebook"):
        present(tmp_path / "y.ipynb", {}, out(tmp_path))


def test_general_notebook_draws_records_and_lists_their_sources(tmp_path, monkeypatch):
    """It does without PyTorch, which drew their noise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hidden'}{os.pathsep}{ROOT / 'src'}")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text("raise ModuleNotFoundError('there is no torch')")
    study = Study(tmp_path, samples=256)
    parameters = {
        "description": artefact().model_dump(mode="json"),
        "cells": study.cells,
        "scale": "paper",
        **{kind: [str(path) for path in paths] for kind, paths in study.tables()},
        "excerpt": str(study.excerpt()),
        "figure": {"png": "hearts.png"},
    }
    present(GENERAL, parameters, out(Path()))
    page = out(Path())["html"].read_text()
    assert Path("hearts.png").is_file()
    assert "Inputs altered (%)" in page
    assert page.count("data:image/png;base64,") == page.count("alt=") == 3
