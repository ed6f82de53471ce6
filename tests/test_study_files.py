"""How files become studies: scales, bases, what a mistake is told, and what the shipped files promise."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lapwing.corruption.seeds import seed_chain
from lapwing.errors import UserError
from lapwing.study import Study
from lapwing.study_files import Scale, read_studies
from tests.test_study import TINY, read

STUDIES = Path(__file__).parent.parent / "studies"
LAP, STANDARD = {"method": "lap"}, {"method": "standard"}


def special(where: dict[str, Any], **sets: Any) -> list[dict[str, Any]]:
    """One special case."""
    return [{"where": where, "set": sets}]


def built_on_tiny(folder: Path, base: dict[str, Any], scale: Scale = "paper", /, **own: Any) -> Study:
    """A study called `a`, which is read before its base by the alphabet; the base has changes of its own."""
    (folder / "a.yaml").write_text(yaml.safe_dump({"base": "tiny", "artefacts": {"a": ARTEFACT}} | own))
    read(folder, **base)
    return read_studies(folder, scale)["a"]


ARTEFACT = TINY["artefacts"]["tiny"]


def epochs(study: Study) -> dict[str, int]:
    """Those of each method, the same for all corruptions."""
    found = {(str(cell.axes["method"]), cell.settings.epochs) for cell in study.cells}
    assert len(found) == len(study.values["method"])
    return dict(found)


def test_scale_overrides_and_paper_does_not(tmp_path: Path) -> None:
    scales = {"demo": {"conditions": {"epochs": 1}}}
    assert read(tmp_path, "demo", scales=scales).cells[0].settings.epochs == 1
    assert read(tmp_path, "paper", scales=scales).cells[0].settings.epochs == 2


def test_study_takes_part_at_scale_subset_only_where_its_file_or_a_base_says_so(tmp_path: Path) -> None:
    read(tmp_path)
    assert read_studies(tmp_path, "subset") == {}
    study = built_on_tiny(tmp_path, {"scales": {"subset": {"conditions": {"epochs": 1}}}}, "subset")
    assert epochs(study) == {"standard": 1, "lap": 1}
    assert set(read_studies(tmp_path, "subset")) == {"tiny", "a"}


def test_of_special_cases_only_those_of_scale_subset_hold_there(tmp_path: Path) -> None:
    content = {"special": special(LAP, epochs=5), "scales": {"subset": {"conditions": {"epochs": 3}}}}
    assert epochs(read(tmp_path, "subset", **content)) == {"standard": 3, "lap": 3}
    content["scales"]["subset"]["special"] = special(STANDARD, epochs=4)
    assert epochs(read(tmp_path, "subset", **content)) == {"standard": 4, "lap": 3}


def test_mistake_at_scale_subset_shows_at_every_scale(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tiny\.yaml \(subset\)"):
        read(tmp_path, "demo", scales={"subset": {"conditions": {"epochs": 0}}})


def test_study_starts_from_its_base(tmp_path: Path) -> None:
    read(tmp_path)
    on_top = {"base": "tiny", "artefacts": {"other": TINY["artefacts"]["tiny"]}, "conditions": {"epochs": 9}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(on_top))
    other = read_studies(tmp_path, "paper")["other"]
    assert list(other.artefacts) == ["other"]
    assert {cell.settings.epochs for cell in other.cells} == {9}


def test_special_cases_of_a_base_come_before_those_of_the_study(tmp_path: Path) -> None:
    base = {"special": [*special(LAP, epochs=5), *special(STANDARD, epochs=6)]}
    assert epochs(built_on_tiny(tmp_path, base, special=special(LAP, epochs=7))) == {"lap": 7, "standard": 6}


def test_special_case_holds_at_a_scale_where_only_its_base_has_others(tmp_path: Path) -> None:
    base = {"scales": {"demo": {"special": special(STANDARD, epochs=6)}}}
    study = built_on_tiny(tmp_path, base, "demo", special=special(LAP, epochs=7))
    assert epochs(study) == {"lap": 7, "standard": 6}


def test_special_case_of_a_base_holds_at_a_scale_where_only_the_study_has_others(tmp_path: Path) -> None:
    base = {"special": special(STANDARD, epochs=6)}
    own = {"special": special(STANDARD, epochs=9), "scales": {"demo": {"special": special(LAP, epochs=7)}}}
    assert epochs(built_on_tiny(tmp_path, base, "demo", **own)) == {"lap": 7, "standard": 6}
    assert epochs(built_on_tiny(tmp_path, base, "paper", **own)) == {"lap": 2, "standard": 9}


def test_special_cases_come_down_a_chain_of_bases(tmp_path: Path) -> None:
    between = {"base": "tiny", "artefacts": {"b": ARTEFACT}, "special": special(STANDARD, epochs=6)}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(between))
    base = {"special": [*special(STANDARD, epochs=5), *special(LAP, epochs=5)]}
    own = {"base": "b", "grid": {"method": ["standard", "lap", "nls"]}}
    assert epochs(built_on_tiny(tmp_path, base, **own)) == {"standard": 6, "lap": 5, "nls": 2}


def test_special_case_of_a_base_that_matches_no_cell_falls_away(tmp_path: Path) -> None:
    base = {"special": special({"method": ["standard", "lap"]}, epochs=5)}
    study = built_on_tiny(tmp_path, base, grid={"method": ["lap"]})
    assert epochs(study) == {"lap": 5}
    base = {"special": special(STANDARD, epochs=5)}
    assert epochs(built_on_tiny(tmp_path, base, grid={"method": ["lap"]})) == {"lap": 2}
    with pytest.raises(UserError, match=r"a\.yaml \(demo\): special: no cell has method standard"):
        built_on_tiny(tmp_path, {}, grid={"method": ["lap"]}, special=special(STANDARD, epochs=5))


def test_special_case_of_a_base_is_met_in_one_of_several_grids(tmp_path: Path) -> None:
    """A value of one grid and a value of another make no cell."""
    base = {"special": special({"method": "lap", "corruption": "original"}, epochs=5)}
    grids = [{**TINY["grid"], "method": ["standard"]}, {**TINY["grid"], "corruption": ["random_label"]}]
    grids[1]["method"] = ["lap"]
    study = built_on_tiny(tmp_path, base, grid=grids)
    assert epochs(study) == {"standard": 2, "lap": 2}
    assert study.special == []


def test_conditions_stand_over_the_special_cases_of_a_base(tmp_path: Path) -> None:
    base = {"special": special(LAP, epochs=5, level=0.5)}
    study = built_on_tiny(tmp_path, base, conditions={"epochs": 3}, special=special(STANDARD, epochs=8))
    assert epochs(study) == {"lap": 3, "standard": 8}
    levels = {cell.axes["method"]: cell.settings.corruption.level for cell in study.cells}
    assert levels == {"lap": 0.5, "standard": 1.0}


def test_conditions_of_a_scale_stand_over_the_special_cases_of_a_base(tmp_path: Path) -> None:
    base = {"scales": {"demo": {"special": special(LAP, epochs=5)}}}
    own = {"scales": {"demo": {"conditions": {"epochs": 3}}}}
    assert epochs(built_on_tiny(tmp_path, base, "demo", **own)) == {"lap": 3, "standard": 3}


def test_what_a_base_says_at_a_scale_stands_over_general_conditions(tmp_path: Path) -> None:
    """What is small at `demo` stays small there."""
    at_demo = {"conditions": {"epochs": 1, "sources": {"size": 48}}, "special": special(LAP, epochs=4)}
    base = {"scales": {"demo": at_demo}}
    own = {"conditions": {"epochs": 30, "sources": {"size": 32, "corrupt": 3}}}
    study = built_on_tiny(tmp_path, base, "demo", **own)
    assert epochs(study) == {"lap": 4, "standard": 1}
    sources = study.cells[0].settings.corruption.sources
    assert (sources.size, sources.corrupt) == (48, 3)
    assert epochs(built_on_tiny(tmp_path, base, "paper", **own)) == {"lap": 30, "standard": 30}


def test_study_that_says_nothing_itself_has_the_cells_of_its_base(tmp_path: Path) -> None:
    base = {
        "special": special(LAP, epochs=5),
        "scales": {"demo": {"conditions": {"epochs": 1}, "special": special(STANDARD, epochs=4)}},
    }
    for scale in ("demo", "paper"):
        study = built_on_tiny(tmp_path, base, scale)  # type: ignore[arg-type]
        assert study.cells == read_studies(tmp_path, scale)["tiny"].cells  # type: ignore[arg-type]


def test_key_that_is_given_twice_is_told_with_its_line(tmp_path: Path) -> None:
    """Plain YAML keeps the last without a word."""
    (tmp_path / "bad.yaml").write_text("title: a\ngrid:\n  method: [lap]\n  method: [standard]\n")
    with pytest.raises(UserError, match="line 4: the key method is given twice"):
        read_studies(tmp_path, "paper")


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").mkdir()
    with pytest.raises(UserError, match=r"bad.yaml: it cannot be read: Is a directory"):
        read_studies(tmp_path, "paper")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n- b", "a study is keys with values"),
        ("a: [", "not YAML, line"),
        ("", "a study is keys with values"),
    ],
)
def test_file_that_is_no_study_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_studies(tmp_path, "paper")


def test_bases_that_go_round_are_refused(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"base": base}))
    with pytest.raises(UserError, match="a chain of bases must end"):
        read_studies(tmp_path, "paper")


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"special": [{"set": {"epochs": 1}}]}, "tiny.yaml (demo): special.0.where: must be given."),
        ({"special": [{"where": LAP}]}, "tiny.yaml (demo): special.0.set: must be given."),
        (
            {"special": special(["lap"], epochs=1)},  # type: ignore[arg-type]
            "tiny.yaml (demo): special.0.where: must be keys with values.",
        ),
        ({"scales": 3}, "tiny.yaml: scales: each scale has keys with values, as the study has (it is 3)."),
        ({"scales": {"demo": None}}, "tiny.yaml: scales: each scale has keys with values"),
        ({"conditions": None}, "tiny.yaml (demo): conditions: must be keys with values."),
    ],
    ids=["no where", "no set", "where is a list", "scales is a number", "an empty scale", "no conditions"],
)
def test_mistake_in_a_base_is_told_of_the_base(
    tmp_path: Path, mistake: dict[str, Any], sentence: str
) -> None:
    """Though the study that is built on it comes first in the alphabet."""
    with pytest.raises(UserError) as told:
        built_on_tiny(tmp_path, mistake, conditions={"epochs": 3})
    assert sentence in str(told.value)


def test_studies_stay_in_the_order_of_their_names(tmp_path: Path) -> None:
    built_on_tiny(tmp_path, {})
    assert list(read_studies(tmp_path, "paper")) == ["a", "tiny"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"special": [{**special(LAP, epochs=1)[0], "inherited": True}]},
            "unknown key special.0.inherited; known: set, where.",
        ),
        ({"scales": {"demo": {"base": "tiny"}}}, "tiny.yaml (demo): unknown key base"),
        ({"scales": {"demo": {"name": "b"}}}, "unknown key name; a study is called as its file."),
        ({"base": "tyni"}, "base: unknown study tyni; known: tiny."),
    ],
)
def test_key_that_a_file_cannot_have_is_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as told:
        read(tmp_path, **changes)
    assert sentence in str(told.value)


def test_seeds_of_table_10_are_the_published_chain() -> None:
    chain = seed_chain(12345, 10)
    cells = read_studies(STUDIES, "paper")["table_10"].cells
    seeds = {str(cell.axes["corruption"]): cell.seeds for cell in cells}
    assert seeds == {"original": chain[:5], "random_label": chain[::2]}


def seeds_of(study: str, *axes: str) -> dict[tuple[Any, ...], list[int]]:
    """The seeds of a shipped study by the values of axes."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for cell in read_studies(STUDIES, "paper")[study].cells:
        place = tuple(cell.axes[axis] for axis in axes)
        assert found.setdefault(place, cell.seeds) == cell.seeds
    return found


def linked(start: int, runs: int, experiments: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], list[int]]:
    """The links of a chain of seeds, which goes through runs and, inside each, through experiments."""
    chain = seed_chain(start, runs * len(experiments))
    return {experiment: chain[i :: len(experiments)] for i, experiment in enumerate(experiments)}


@pytest.mark.parametrize("study", ["table_4", "table_6", "table_1_multi_source"])
def test_seeds_of_mixed_batches_are_the_published_chain(study: str) -> None:
    datasets = ("cifar_10", "cifar_100", "fashion_mnist")
    corruptions = (
        "original",
        "chunk_shuffle",
        "random_label",
        "batch_label_flip",
        "added_noise",
        "batch_label_shuffle",
        "replaced_noise",
    )
    links = linked(42, 5, [(dataset, corruption) for dataset in datasets for corruption in corruptions])
    seeds = seeds_of(study, "dataset", "corruption")
    assert seeds == {place: links[place] for place in seeds}
    assert len(seeds) == (21 if study == "table_1_multi_source" else 7)


def test_seeds_of_figure_4_are_the_published_chains() -> None:
    numbers = [(n_corrupt,) for n_corrupt in (6, 5, 4, 3, 2)]
    first, second = linked(123, 3, numbers), linked(45, 2, numbers)
    assert seeds_of("figure_4", "n_corrupt") == {each: first[each] + second[each] for each in numbers}


def test_seeds_of_table_7_and_imagenet64_are_the_published_chain() -> None:
    assert seeds_of("table_7", "corruption") == linked(12345, 5, [("random_label",), ("original",)])
    assert seeds_of("imagenet64") == {(): seed_chain(12345, 5)}


def test_leaderboard_shares_runs_with_table_1() -> None:
    studies = read_studies(STUDIES, "paper")
    ours, theirs = (
        {(cell.settings.model_dump_json(), seed) for cell in studies[name].cells for seed in cell.seeds}
        for name in ("leaderboard", "table_1")
    )
    assert len(ours & theirs) == 5 * 7 * 5  # methods, corruptions, seeds
