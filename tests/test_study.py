"""Studies: from a file to cells, parts and seeds, and what a mistake in one is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lapwing.errors import UserError
from lapwing.study import merged, parts, select
from lapwing.study_files import read_studies

TINY: dict[str, Any] = {
    "title": "A tiny study",
    "artefacts": {
        "tiny": {"kind": "table", "title": "Tiny", "rows": ["corruption"]},
    },
    "grid": {
        "dataset": ["digits"],
        "corruption": ["original", "random_label"],
        "method": ["standard", "lap"],
    },
    "parts_by": ["dataset", "corruption"],
    "conditions": {
        "seeds": [1, 2],
        "sources": {"number": 5, "corrupt": 2, "size": 16},
        "layout": "blocks",
        "batch_size": 16,
        "model": {"name": "mlp"},
        "methods": {"lap": {"form": "gradient"}},
        "epochs": 2,
        "metric": {"name": "top_1", "better": "higher"},
    },
}


def read(folder: Path, scale: str = "paper", **changes: Any) -> Any:
    """The tiny study with changes, read from a file."""
    content = merged(TINY, changes)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return read_studies(folder, scale)["tiny"]  # type: ignore[arg-type]


def test_grid_becomes_cells_in_its_order(tmp_path: Path) -> None:
    cells = read(tmp_path).cells
    assert [(cell.axes["corruption"], cell.axes["method"]) for cell in cells] == [
        ("original", "standard"),
        ("original", "lap"),
        ("random_label", "standard"),
        ("random_label", "lap"),
    ]
    assert all(cell.seeds == [1, 2] for cell in cells)


def test_methods_of_a_cell_share_the_corruption(tmp_path: Path) -> None:
    cells = read(tmp_path).cells
    keys = [cell.settings.corruption.key for cell in cells]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_special_case_changes_the_cells_that_it_describes_alone(tmp_path: Path) -> None:
    special = [{"where": {"method": "lap", "corruption": "random_label"}, "set": {"epochs": 7, "seeds": [5]}}]
    cells = read(tmp_path, special=special).cells
    assert [cell.settings.epochs for cell in cells] == [2, 2, 2, 7]
    assert [cell.seeds for cell in cells] == [[1, 2]] * 3 + [[5]]


def test_further_axis_sets_the_condition_that_it_names(tmp_path: Path) -> None:
    changes = {
        "grid": {"n_corrupt": [1, 3]},
        "axes": {"n_corrupt": "sources.corrupt"},
        "artefacts": {"tiny": {"rows": ["corruption", "n_corrupt"]}},
    }
    cells = read(tmp_path, **changes).cells
    assert {cell.settings.corruption.sources.corrupt for cell in cells} == {1, 3}
    assert len(cells) == 8


def test_several_grids_make_cells_one_after_another(tmp_path: Path) -> None:
    """What an axis sets may depend on another: its path has the other's value in it."""
    changes = {
        "grid": [
            {
                **TINY["grid"],
                "corruption": ["original"],
                "method": ["lap"],
                "varied": [name],
                "setting": values,
            }
            for name, values in (("leniency", [0.5, 1.0]), ("history_length", [5, 10]))
        ],
        "axes": {"setting": "methods.lap.{varied}"},
        "artefacts": {"tiny": {"rows": ["varied"], "columns": "setting"}},
        "special": [{"where": {"varied": "history_length", "setting": [0.5, 10]}, "set": {"epochs": 7}}],
    }
    study = read(tmp_path, **changes)
    options = [cell.settings.method.options for cell in study.cells]
    default = read(tmp_path).cells[1].settings.method.options
    assert [(each["leniency"], each["history_length"]) for each in options] == [
        (0.5, default["history_length"]),
        (1.0, default["history_length"]),
        (default["leniency"], 5),
        (default["leniency"], 10),
    ]
    assert [cell.settings.epochs for cell in study.cells] == [2, 2, 2, 7]
    assert study.values["setting"] == [0.5, 1.0, 5, 10]


def test_cell_is_shown_with_the_epoch_that_it_is_read_from(tmp_path: Path) -> None:
    assert read(tmp_path).cells[0].shown()["read_from"] == 1
    assert read(tmp_path, conditions={"read_from": 2}).cells[0].shown()["read_from"] == 2


def test_parts_are_the_cells_that_share_axes(tmp_path: Path) -> None:
    study = read(tmp_path)
    cut = parts(study, study.cells)
    assert {name: len(cells) for name, cells in cut.items()} == {
        "digits-original": 2,
        "digits-random_label": 2,
    }


def test_selection_keeps_cells_and_seeds(tmp_path: Path) -> None:
    study = read(tmp_path)
    kept = select({"tiny": study}, [{"method": "lap", "seed": [2]}])["tiny"]
    assert [(cell.axes["corruption"], cell.seeds) for cell in kept] == [
        ("original", [2]),
        ("random_label", [2]),
    ]


def test_selections_add_up_and_compare_as_text(tmp_path: Path) -> None:
    """Snakemake gives what is inside a mapping on the command line as text."""
    study = read(tmp_path)
    only = [{"method": "lap", "seed": ["2"]}, {"corruption": "original", "seed": "1"}]
    kept = select({"tiny": study}, only)["tiny"]
    assert [(cell.axes["corruption"], cell.axes["method"], cell.seeds) for cell in kept] == [
        ("original", "standard", [1]),
        ("original", "lap", [1, 2]),
        ("random_label", "lap", [2]),
    ]


@given(st.permutations(sorted(TINY["conditions"])))
def test_order_of_keys_does_not_matter(order: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain = read(Path(folder)).cells
        shuffled = {**TINY, "conditions": {key: TINY["conditions"][key] for key in order}}
        (Path(folder) / "tiny.yaml").write_text(yaml.safe_dump(shuffled, sort_keys=False))
        assert read_studies(Path(folder), "paper")["tiny"].cells == plain


VARIED = {"grid": {"varied": ["leniency"], "setting": [1.0]}}

MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("misspelt key", {"conditions": {"epoch": 3}}, "unknown key epoch; did you mean epochs?"),
    ("misspelt key at the top", {"artefact": {}}, "unknown key artefact; did you mean artefacts?"),
    ("wrong type", {"conditions": {"epochs": "many"}}, "epochs: must be a whole number"),
    (
        "mirrored features",
        {"grid": {"dataset": ["two_moons"]}, "conditions": {"augmentation": "horizontal_flip"}},
        "augmentation: horizontal_flip needs images (channels, height, width), and inputs of two_moons have",
    ),
    ("out of range", {"conditions": {"epochs": 0}}, "epochs: must be greater than or equal to 1"),
    ("infinite", {"conditions": {"optimiser": {"learning_rate": float("inf")}}}, "finite number"),
    ("misspelt method", {"grid": {"method": ["standard", "lapp"]}}, "unknown method lapp; did you mean lap?"),
    ("misspelt dataset", {"grid": {"dataset": ["digit"]}}, "unknown dataset digit; did you mean digits?"),
    (
        "misspelt corruption",
        {"grid": {"corruption": ["random_labels"]}},
        "unknown corruption random_labels; did you mean random_label?",
    ),
    ("misspelt model", {"conditions": {"model": {"name": "mpl"}}}, "unknown model mpl; did you mean mlp?"),
    (
        "misspelt hyperparameter",
        {"conditions": {"methods": {"lap": {"depresion_strength": 1}}}},
        "unknown key depresion_strength; did you mean depression_strength?",
    ),
    (
        "hyperparameters of a method that is not there",
        {"conditions": {"methods": {"lab": {}}}},
        "methods: unknown name lab; did you mean lap?",
    ),
    (
        "special case without a cell",
        {"special": [{"where": {"method": "arfl"}, "set": {"epochs": 1}}]},
        "special: no cell has method arfl",
    ),
    (
        "special case of which no cell has all",
        {
            "grid": [{**TINY["grid"], "method": ["lap"]}, {**TINY["grid"], "corruption": ["added_noise"]}],
            "special": [{"where": {"method": "standard", "corruption": "original"}, "set": {"epochs": 1}}],
        },
        "special: no cell has all of {'corruption': 'original', 'method': 'standard'}.",
    ),
    (
        "a brace that is not closed",
        {**VARIED, "axes": {"setting": "methods.lap.{varied"}},
        "neither axes nor special says what this axis sets: varied",
    ),
    (
        "a brace too many",
        {**VARIED, "axes": {"setting": "methods.lap.{varied}}"}},
        "methods.lap: unknown key leniency}; did you mean leniency?",
    ),
    (
        "a conversion of an axis",
        {**VARIED, "axes": {"setting": "methods.lap.{varied!x}"}},
        "axes: setting: unknown axis varied!x; did you mean varied?",
    ),
    (
        "a value twice, as another number",
        {"grid": {"size": [1, 1.0]}, "axes": {"size": "level"}},
        "grid: axis size needs values that are different (it is [1, 1.0]).",
    ),
    (
        "a cell of two grids, with another number",
        {
            "grid": [{**TINY["grid"], "size": [1]}, {**TINY["grid"], "size": [1.0]}],
            "axes": {"size": "level"},
        },
        "grid: two grids make the cell ('original', 'digits', 'standard', 1).",
    ),
    (
        "a column of results",
        {"grid": {"read_from": [1]}, "axes": {"read_from": "level"}},
        "an axis cannot be called read_from, which is a column of results.",
    ),
    ("seed twice", {"conditions": {"seeds": [1, 2, 1]}}, "seed 1 is listed twice"),
    ("negative seed", {"conditions": {"seeds": [-1]}}, "a seed lies between 0 and 4294967295, not -1"),
    ("unknown part axis", {"parts_by": ["data"]}, "parts_by: unknown axis data; did you mean dataset?"),
    ("unknown scale", {"scales": {"papr": {}}}, "unknown scale papr; did you mean paper?"),
    ("path in a name", {"artefacts": {"../x": TINY["artefacts"]["tiny"]}}, "should match pattern"),
    ("more corrupt than there are", {"conditions": {"sources": {"corrupt": 9}}}, "corrupt"),
    (
        "a mistake hidden at the other scale",
        {"scales": {"demo": {"conditions": {"epochs": 0}}}},
        "tiny.yaml (demo)",
    ),
    (
        "a corruption that does not fit the data",
        {"grid": {"corruption": ["chunk_shuffle"]}},
        "chunk_shuffle: options.pieces: 8 values cannot be cut into 10 pieces.",
    ),
    (
        "a corruption of words on numbers",
        {"grid": {"corruption": ["random_permute"]}},
        "Random Permute alters words, and the inputs are numbers.",
    ),
    ("no grid", {"grid": None}, "grid: must be a list"),
    (
        "grids of different axes",
        {"grid": [TINY["grid"], {**TINY["grid"], "size": [1]}]},
        "grid: each grid has the same axes in the same order (corruption, dataset, method, size differ)",
    ),
    (
        "a cell of two grids",
        {"grid": [TINY["grid"], TINY["grid"]]},
        "grid: two grids make the cell ('original', 'digits', 'standard').",
    ),
    (
        "a path through an axis that is not there",
        {"grid": {"size": [1]}, "axes": {"size": "methods.lap.{varied}"}},
        "axes: size: unknown axis varied",
    ),
    (
        "an empty axis",
        {"grid": {"method": []}},
        "grid: axis method needs values that are different (it is []).",
    ),
    (
        "a value twice",
        {"grid": {"method": ["lap", "lap"]}},
        "grid: axis method needs values that are different",
    ),
    (
        "an axis with the name of a column",
        {"grid": {"seed": [1]}, "axes": {"seed": "level"}},
        "an axis cannot be called seed, which is a column of results.",
    ),
    (
        "an axis that sets nothing",
        {"grid": {"size": [1]}},
        "neither axes nor special says what this axis sets: size",
    ),
    (
        "seeds as text",
        {"conditions": {"seeds": ["2"]}},
        "seeds.0: must be a whole number (it is '2').",
    ),
    (
        "a seed that no generator takes",
        {"conditions": {"seeds": [2**32]}},
        "a seed lies between 0 and 4294967295",
    ),
    ("a scale that is a number", {"scales": {"demo": 3}}, "scales: each scale has keys with values"),
    ("a base that is a list", {"base": ["tiny"]}, "base: unknown study ['tiny']"),
    ("a name in the file", {"name": "other"}, "unknown key name; a study is called as its file."),
    (
        "rows that are no axis",
        {"artefacts": {"tiny": {"rows": ["corruptoin"]}}},
        "artefacts.tiny: rows and columns: unknown axis corruptoin; did you mean corruption?",
    ),
    (
        "rows that do not tell cells apart",
        {"artefacts": {"tiny": {"rows": ["dataset"]}}},
        "artefacts.tiny: several cells share a place; add to rows: corruption.",
    ),
    (
        "a row whose cells have different metrics",
        {"special": [{"where": {"method": "lap"}, "set": {"metric": {"name": "top_5"}}}]},
        "artefacts.tiny: the cells of row ('original',) have different metrics.",
    ),
    (
        "a further study that is not there",
        {"artefacts": {"tiny": {"studies": ["tinny"]}}},
        "artefacts.tiny.studies: unknown study tinny; did you mean tiny?",
    ),
    (
        "a metric that results do not hold",
        {"conditions": {"metric": {"name": "top_99"}}},
        "metric.name: unknown metric top_99",
    ),
    (
        "a metric read the wrong way round",
        {"conditions": {"metric": {"better": "lower"}}},
        "metric: top_1 is better higher and its unit is percent.",
    ),
    (
        "a model for another task",
        {"conditions": {"model": {"name": "regression_mlp"}}},
        "model.name: MLP for regression is for regression, and the dataset for classification.",
    ),
    (
        "data without test rows",
        {"grid": {"dataset": ["diabetes"], "corruption": ["original"]}},
        "diabetes",
    ),
    ("a batch larger than the data", {"conditions": {"batch_size": 99999}}, "fewer than a batch (99999)"),
    (
        "LAP's gradient form in mixed batches",
        {"conditions": {"layout": "mixed"}},
        "layout",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_mistake_is_told_in_one_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as told:
        read(tmp_path, "paper", **changes)
    text = str(told.value)
    assert sentence in text
    assert "tiny" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("only", "sentence"),
    [
        ({"methd": "lap"}, "only: unknown axis methd; did you mean method?"),
        ({"method": "lapp"}, "only: no run has method lapp; near: lap."),
        ({"seed": [1, 3]}, "only: no run has seed 3"),
    ],
)
def test_selection_of_nothing_is_told_with_the_near_misses(
    tmp_path: Path, only: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as told:
        select({"tiny": read(tmp_path)}, [only])
    assert sentence in str(told.value)
