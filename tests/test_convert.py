"""Command lines of the published LAP repository, and what says the same here."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lapwing.convert import SCRIPTS, convert, is_study, page
from lapwing.errors import UserError
from lapwing.study import Cell, Study, select
from lapwing.study_files import read_studies

ROOT = Path(__file__).parent.parent
RUNS = "--seed 2 --runs 1 2 3 4 5 --device cuda"
TABLE_1 = (
    "1_test_synthetic.py --model-name {model}-{corruption}-drstd --dataset-name {dataset} --seed 2 4 8 16 32 "
    "--n-sources 10 --n-corrupt-sources 4 --source-size 128 --depression-strength 1.0 --leniency 0.8 "
    "--history-length 25 --n-epochs 25 -v"
)
CIFAR_10 = TABLE_1.format(model="Conv3Net", corruption="c_rl", dataset="cifar10")
PUBLISHED = [
    TABLE_1.format(model="[MODEL]", corruption="[CORRUPTION]", dataset="[DATASET]"),
    CIFAR_10,
    TABLE_1.format(model="Conv3Net_100", corruption="c_lbs", dataset="cifar100"),
    TABLE_1.format(model="MLP", corruption="no_c", dataset="fmnist"),
    f"2_test_presnet.py {RUNS}",
    f"3_test_ecg_different_noise.py {RUNS}",
    f"4_test_cifar10n_different_noise_presnet.py {RUNS}",
    f"5_test_nlp_random_label.py {RUNS}",
    f"6_test_synthetic_batches_multiple_source.py {RUNS}",
    f"7_test_synthetic_different_noise_presnet.py --corruption_level 0.5 {RUNS}",
    f"8_test_cifar10n_different_noise_low_capacity.py {RUNS}",
    f"9_test_synthetic_batches_multiple_source_varied_sizes.py {RUNS}",
    f"10_tiny_imagenet_random_label.py {RUNS} --scheduler",
    f"11_imagenet64_random_label_and_noise.py {RUNS} --scheduler",
    f"12_california_housing_regression.py {RUNS}",
    "0_test_hparams.ipynb",
    *(f"{folder}/synthetic_baseline_experiments.py" for folder in ("coteaching", "idpa", "rrl")),
    *(f"{folder}/IMDB_baseline_experiments.py" for folder in ("coteaching", "idpa")),
    "coteaching/synthetic_baseline_experiments.py --multiple_sources_in_batch",
    "idpa/synthetic_baseline_experiments.py --multiple_sources_in_batch",
]
FURTHER = [
    f"10_tiny_imagenet_random_label.py {RUNS}",
    f"5_test_nlp_random_label.py {RUNS} --scheduler",
    f"{CIFAR_10} --history-length 50 --n-corrupt-sources 6 --seed 3",
    f"{CIFAR_10} --n-sources 20 --n-corrupt-sources 15",
    f"{CIFAR_10} --source-is-bool",
    f"{CIFAR_10} --lr 0.01 --hold-off 250 --depression-strength 2 --source-size 64",
    TABLE_1.format(model="MLP", corruption="c_cs", dataset="fmnist"),
    "6_test_synthetic_batches_multiple_source.py --seed 42 --runs 1 2 3",
    "8_test_cifar10n_different_noise_low_capacity.py --seed 45 --runs 4 5 --min_corruption_level 0.25",
    "9_test_synthetic_batches_multiple_source_varied_sizes.py --runs 1",
    "12_california_housing_regression.py --seed 7 --runs 1 2 --scheduler --no_depression",
    "12_california_housing_regression.py --seed 12345 --runs 2 --depression",
    "idpa/synthetic_baseline_experiments.py --multiple_sources_in_batch --seed 2",
]
ALL_LATER: dict[str, Study] = {}


@pytest.fixture(scope="module")
def studies() -> dict[str, Study]:
    return read_studies(ROOT / "studies", "paper")


def commands(answer: str) -> list[tuple[list[str], list[dict[str, object]]]]:
    """The targets and the selections of every command in an answer, as shell and YAML read them."""
    found = []
    for line in re.findall(r"^(?:#   )?(snakemake .*)$", answer, re.MULTILINE):
        targets, config = line.removeprefix("snakemake ").split(" --cores all --config ")
        settings = dict(word.split("=", 1) for word in shlex.split(config))
        assert settings.pop("scale") == "paper"
        only = yaml.safe_load(settings.pop("only", "[]"))
        assert not settings
        found.append((targets.split(), [only] if isinstance(only, dict) else only))
    return found


def saved(answer: str, folder: Path) -> tuple[str, Path]:
    """An answer saved as it says, beside the repository's studies."""
    for path in (ROOT / "studies").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    name = re.findall(r"Save this as studies/(\w+)\.yaml", answer)[0]
    (folder / f"{name}.yaml").write_text(answer, encoding="utf-8")
    return name, folder


def cells_of(answer: str, folder: Path) -> list[Cell]:
    name, folder = saved(answer, folder)
    return read_studies(folder, "paper")[name].cells


@pytest.mark.parametrize("line", [*PUBLISHED, *FURTHER])
def test_what_is_printed_can_be_used(line: str, studies: dict[str, Study], tmp_path: Path) -> None:
    answer = convert(shlex.split(line), studies)
    lines = answer.splitlines()
    is_study = any(text.startswith("title:") for text in lines)
    if is_study:
        name, folder = saved(answer, tmp_path)
        read = read_studies(folder, "paper")
        assert read[name].cells
    else:
        read = studies
        assert all(text.startswith(("# ", "snakemake ")) for text in lines)
    found = commands(answer)
    assert found or "later" in answer
    for targets, only in found:
        for target in targets:
            [owner] = [study for study in read.values() if target in study.artefacts]
            behind = [owner.name, *owner.artefacts[target].studies]
            assert any(select(read, only)[name] for name in behind)


# -- script 1 --------------------------------------------------------------------------------------


def test_table_1_as_published(studies: dict[str, Study]) -> None:
    assert convert(CIFAR_10.split(), studies) == (
        "snakemake table_1 --cores all --config scale=paper "
        "only='{dataset: cifar_10, corruption: random_label, method: lap, seed: [2, 4, 8, 16, 32]}'\n"
    )
    assert convert(["python", *CIFAR_10.split()], studies) == convert(CIFAR_10.split(), studies)


def test_strength_0_is_standard_training(studies: dict[str, Study]) -> None:
    line = f"{CIFAR_10} --depression-strength=0 --history-length 7"
    assert convert(line.split(), studies) == (
        "snakemake table_1 --cores all --config scale=paper "
        "only='{dataset: cifar_10, corruption: random_label, method: standard, seed: [2, 4, 8, 16, 32]}'\n"
    )


def test_without_seeds_all_are_meant(studies: dict[str, Study]) -> None:
    line = "1_test_synthetic.py --model-name MLP-c_no-drstd --dataset-name fmnist"
    assert commands(convert(line.split(), studies)) == [
        (["table_1"], [{"dataset": "fashion_mnist", "corruption": "replaced_noise", "method": "lap"}])
    ]


def test_what_differs_is_a_study_file(studies: dict[str, Study]) -> None:
    line = f"{CIFAR_10} --history-length 50 --n-corrupt-sources 6 --seed 3"
    assert (
        convert(line.split(), studies)
        == """\
# 1_test_synthetic.py is told something else than the study table_1 says:
#   history_length 50 (table_1: 25)
#   sources.corrupt 6 (table_1: 4)
#   seeds (table_1 has other ones)
# Save this as studies/my_table_1.yaml, then:
#   snakemake my_table_1 --cores all --config scale=paper
title: Test accuracy when some of ten sources are corrupted, as in a published command line
base: table_1
artefacts:
  my_table_1:
    kind: table
    title: 'As in a published command line: test accuracy when some of ten sources are corrupted'
    rows: [dataset, corruption]
    stand_in: {digits: fashion_mnist}
    remarks: [Random label is a fixed map of the classes for each corrupt source., 'On Fashion-MNIST the
        network ends in a softmax before the cross-entropy, as published.']
    readings: [last, best, validation]
grid:
  dataset: [cifar_10]
  corruption: [random_label]
  method: [lap]
special:
- where: {dataset: cifar_10, corruption: random_label, method: lap}
  set:
    sources: {corrupt: 6}
    methods:
      lap: {history_length: 50}
- where: {dataset: cifar_10, corruption: random_label, method: lap}
  set:
    seeds: [3]
scales:
  demo:
    special: []
"""
    )


def test_special_case_of_a_dataset_is_kept_in_a_study_file(studies: dict[str, Study], tmp_path: Path) -> None:
    """The published line says 25 epochs and 4 corrupt sources for CIFAR-100; the study says 40 and 2."""
    line = TABLE_1.format(model="Conv3Net_100", corruption="c_lbs", dataset="cifar100")
    [cell] = cells_of(convert(line.split(), studies), tmp_path)
    assert cell.axes == {"dataset": "cifar_100", "corruption": "batch_label_shuffle", "method": "lap"}
    assert (cell.settings.epochs, cell.settings.corruption.sources.corrupt) == (25, 4)
    assert cell.settings.method.options["warmup_iters"] == 250
    assert cell.metric.name == "top_5"
    assert cell.seeds == [2, 4, 8, 16, 32]


def test_every_option_reaches_the_run(studies: dict[str, Study], tmp_path: Path) -> None:
    line = (
        f"{CIFAR_10} --n-sources 20 --n-corrupt-sources 15 --source-size 64 --depression-strength 2 "
        "--leniency 0.5 --history-length 10 --hold-off 250 --n-epochs 3 --lr 0.01 --seed 5 5 6"
    )
    [cell] = cells_of(convert(line.split(), studies), tmp_path)
    sources = cell.settings.corruption.sources
    assert (sources.number, sources.corrupt, sources.size) == (20, 15, 64)
    assert (cell.settings.batch_size, cell.settings.epochs) == (64, 3)
    assert cell.settings.optimiser.learning_rate == 0.01
    assert cell.settings.method.options == {
        "form": "gradient",
        "history_length": 10,
        "warmup_iters": 250,
        "depression_strength": 2.0,
        "discrete_amount": 0.005,
        "leniency": 0.5,
        "compat": None,
    }
    assert cell.seeds == [5, 6]


def test_oracle_trains_on_clean_sources(studies: dict[str, Study], tmp_path: Path) -> None:
    [cell] = cells_of(convert(f"{CIFAR_10} --source-is-bool".split(), studies), tmp_path)
    assert cell.axes["method"] == "standard"
    assert cell.settings.model_dump()["train_on"] == "clean_sources"


# -- scripts with a chain of seeds -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "artefact"),
    [
        ("12_california_housing_regression.py --seed 12345", "table_10"),
    ],
)
def test_published_chain_is_the_whole_artefact(line: str, artefact: str, studies: dict[str, Study]) -> None:
    command = convert(line.split(), studies).splitlines()[-1]
    assert command == f"snakemake {artefact} --cores all --config scale=paper"


@pytest.mark.parametrize(
    ("line", "artefact", "trained"),
    [
        (
            "6_test_synthetic_batches_multiple_source.py --seed 42 --runs 1 2 3 4 5",
            "table_4",
            {"method": {"standard", "lap"}},
        ),
        ("6_test_synthetic_batches_multiple_source.py", "table_4", {"method": {"standard", "lap"}}),
        (
            "9_test_synthetic_batches_multiple_source_varied_sizes.py --seed 42",
            "table_6",
            {"method": {"lap"}, "block_size": {128}, "n_sources": {10, 50, 250, 1250, 6250, 50000}},
        ),
        (
            f"9_test_synthetic_batches_multiple_source_varied_sizes.py {RUNS}",
            "table_6",
            {"block_size": {128}},
        ),
        (f"6_test_synthetic_batches_multiple_source.py {RUNS}", "table_4", {"method": {"standard", "lap"}}),
    ],
)
def test_a_command_trains_no_more_than_the_script(
    line: str, artefact: str, trained: dict[str, set[object]], studies: dict[str, Study], tmp_path: Path
) -> None:
    answer = convert(line.split(), studies)
    if is_study(answer):
        cells = cells_of(answer, tmp_path)
    else:
        [(targets, only)] = commands(answer)
        assert targets == [artefact]
        cells = select({artefact: studies[artefact]}, only)[artefact]
    assert {axis: {cell.axes[axis] for cell in cells} for axis in trained} == trained
    assert {len(cell.seeds) for cell in cells} == {5}
    assert {cell.axes["corruption"] for cell in cells} == set(studies[artefact].values["corruption"])


def test_first_runs_of_a_chain(studies: dict[str, Study]) -> None:
    line = "6_test_synthetic_batches_multiple_source.py --runs 1 2 3"
    answer = convert(line.split(), studies)
    [(targets, only)] = commands(answer)
    assert targets == ["table_4"]
    seeds = [667824499, 561656939, 622568270]
    assert {"method": ["standard", "lap"], "corruption": "random_label", "seed": seeds} in only
    assert len(only) == 7


def test_both_starts_of_figure_4(studies: dict[str, Study]) -> None:
    script = "8_test_cifar10n_different_noise_low_capacity.py"
    found: dict[object, list[int]] = {}
    for options in ("--seed 123 --runs 1 2 3", "--seed 45 --runs 4 5"):
        [(_, only)] = commands(convert(f"{script} {options}".split(), studies))
        for selection in only:
            found[selection["n_corrupt"]] = found.get(selection["n_corrupt"], []) + selection["seed"]
    cells = studies["figure_4"].cells
    assert found == {cell.axes["n_corrupt"]: cell.seeds for cell in cells}


def test_calls_with_later_runs_start_the_chain_anew(studies: dict[str, Study]) -> None:
    script = "12_california_housing_regression.py --seed 12345"
    later = convert(f"{script} --runs 4 5".split(), studies)
    assert later == (
        "# --runs 4 5: every call starts the chain anew, so these have the seeds of the first runs.\n"
        + convert(f"{script} --runs 1 2".split(), studies)
    )


def test_other_start_is_a_study_file_with_the_seeds_of_the_chain(
    studies: dict[str, Study], tmp_path: Path
) -> None:
    answer = convert(f"12_california_housing_regression.py {RUNS}".split(), studies)
    assert "# The published values come from --seed 12345" in answer
    assert commands(answer) == [(["table_10"], []), (["my_table_10"], [])]
    seeds = {cell.axes["corruption"]: cell.seeds for cell in cells_of(answer, tmp_path)}
    # Random label first, original data second in each run (lap-experiments, section 1.1).
    assert seeds == {
        "random_label": [837575480, 924938081, 206462400, 639368587, 883395898],
        "original": [703927121, 271579990, 157115573, 387912429, 737930875],
    }


@pytest.mark.parametrize("method", ["idpa", "coteaching"])
def test_study_file_keeps_what_methods_have_of_their_own(
    method: str, studies: dict[str, Study], tmp_path: Path
) -> None:
    line = f"{method}/synthetic_baseline_experiments.py --multiple_sources_in_batch {RUNS}"
    ours = {
        str(cell.axes): (cell.settings, cell.read_from)
        for cell in studies["table_4"].cells
        if cell.axes["method"] == method
    }
    found = cells_of(convert(line.split(), studies), tmp_path)
    assert {str(cell.axes): (cell.settings, cell.read_from) for cell in found} == ours


@pytest.mark.parametrize(
    "script", ["10_tiny_imagenet_random_label.py", "11_imagenet64_random_label_and_noise.py"]
)
def test_at_demo_scale_nothing_published_is_asked_for(
    script: str, studies: dict[str, Study], tmp_path: Path
) -> None:
    """There the studies judge another metric than the published one."""
    name, folder = saved(convert([script, "--seed", "7", "--scheduler"], studies), tmp_path)
    at = {scale: read_studies(folder, scale)[name].artefacts.values() for scale in ("demo", "paper")}
    assert all(artefact.published is None for artefact in at["demo"])
    assert all(artefact.published is not None for artefact in at["paper"])


def test_one_arm_with_a_scheduler(studies: dict[str, Study], tmp_path: Path) -> None:
    line = "12_california_housing_regression.py --seed 12345 --runs 1 --no_depression --scheduler"
    cells = cells_of(convert(line.split(), studies), tmp_path)
    assert [(cell.axes["method"], cell.seeds) for cell in cells] == [("standard", [699215031])] * 2
    assert {
        (c.settings.schedule.name, c.settings.schedule.every, c.settings.schedule.factor) for c in cells
    } == {("step", 50, 0.5)}


# -- baselines, remarks, what comes later ----------------------------------------------------------


def test_baselines_with_mixed_batches_are_columns_of_table_4(
    studies: dict[str, Study],
) -> None:
    line = "baseline/idpa/synthetic_baseline_experiments.py --multiple_sources_in_batch"
    assert convert(line.split(), studies) == (
        "snakemake table_4 --cores all --config scale=paper only='{method: idpa}'\n"
    )


@pytest.mark.parametrize(
    ("line", "artefacts"),
    [
        ("1_test_synthetic.py --model-name MLP-no_c-drstd --dataset-name fmnist", "table_1 comes"),
        ("11_imagenet64_random_label_and_noise.py --scheduler", "table_8, table_9 and figure_5 come"),
        ("0_test_hparams.ipynb", "figure_2 and hyperparameters come"),
        ("idpa/IMDB_baseline_experiments.py", "table_3 comes"),
        ("rrl/synthetic_baseline_experiments.py", "table_2 comes"),
    ],
)
def test_what_is_not_there_comes_later(line: str, artefacts: str) -> None:
    last = convert(line.split(), ALL_LATER).splitlines()[-1]
    assert last == f"# {artefacts} later: not in this version yet."


def test_method_that_a_study_lacks_comes_later(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "studies" / "table_1.yaml").read_text(encoding="utf-8"))
    content["grid"]["method"] = ["standard", "lap"]
    content["artefacts"] = {"table_1": content["artefacts"]["table_1"]}
    for part in (content, content["scales"]["demo"]):
        part["special"] = [case for case in part["special"] if "method" not in case["where"]]
    (tmp_path / "table_1.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    read = read_studies(tmp_path, "paper")
    answer = convert(["idpa/synthetic_baseline_experiments.py"], read)
    assert answer.splitlines()[-1] == "# table_1 has no method idpa yet; it comes later."


def test_seeds_of_a_baseline_of_table_1_are_those_of_the_study(studies: dict[str, Study]) -> None:
    line = "idpa/synthetic_baseline_experiments.py --seed 2 --runs 1 2 3"
    answer = convert(line.split(), studies)
    for option in ("--seed 2", "--runs"):
        assert f"# {option}: the seeds are those of table_1.\n" in answer
    assert commands(answer) == [(["table_1"], [{"method": "idpa"}])]


def test_several_artefacts_are_all_answered(
    studies: dict[str, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one study together, of several one after another."""
    name = "12_california_housing_regression.py"
    three = ("table_10", "leaderboard", "table_1", "table_1_ranking")
    monkeypatch.setitem(SCRIPTS, name, replace(SCRIPTS[name], artefacts=three, loop=None))
    found = commands(convert([name, "--depression"], studies))
    assert [targets for targets, _ in found] == [
        ["table_10"],
        ["leaderboard"],
        ["table_1", "table_1_ranking"],
    ]
    assert all(only == [{"method": "lap"}] for _, only in found)


def test_words_to_be_filled_in_are_named(studies: dict[str, Study]) -> None:
    answer = convert(PUBLISHED[0].split(), studies)
    assert answer.startswith(
        "# [MODEL], [CORRUPTION] and [DATASET] stand for names, such as --model-name Conv3"
    )
    assert commands(answer) == [(["table_1"], [{"method": "lap", "seed": [2, 4, 8, 16, 32]}])]


def test_device_is_the_one_that_is_there(studies: dict[str, Study]) -> None:
    assert "# --device cuda: a job uses the GPU that is there.\n" in convert(
        f"{CIFAR_10} --device cuda".split(), studies
    )
    assert "CUDA_VISIBLE_DEVICES=" in convert(f"{CIFAR_10} --device cpu".split(), studies)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "convert lap: which script? known: "),
        (
            "2_test_presnets.py",
            "convert lap: unknown script 2_test_presnets.py; did you mean 2_test_presnet.py?",
        ),
        ("synthetic_baseline_experiments.py", "its folder says which method is meant: coteaching/synthetic"),
        ("2_test_presnet.py --sed 2", "2_test_presnet.py: unknown option --sed; did you mean --seed?"),
        ("2_test_presnet.py --seed", "2_test_presnet.py: --seed needs a value (whole number)."),
        ("2_test_presnet.py --seed two", "2_test_presnet.py: --seed needs a whole number (it is two)."),
        ("2_test_presnet.py --seed -1", "2_test_presnet.py: --seed cannot be negative (it is -1)."),
        ("2_test_presnet.py --seed 1 2", "2_test_presnet.py: unexpected word 2 after --seed."),
        ("2_test_presnet.py 2", "2_test_presnet.py: unexpected word 2."),
        ("4_test_cifar10n_different_noise_presnet.py --min_corruption_level 0.5", "have 0.25 only."),
        ("1_test_synthetic.py --model-name MLP-no_c-drstd", "1_test_synthetic.py needs --dataset-name."),
        ("1_test_synthetic.py --model-name MLP --dataset-name fmnist", "is MODEL-CORRUPTION-drstd"),
        (
            "1_test_synthetic.py --model-name MLP-c_xx-drstd --dataset-name fmnist",
            "corruption: unknown name c_xx; known: c_cs,",
        ),
        (
            "1_test_synthetic.py --model-name MLP-no_c-drstd --dataset-name fmnst",
            "--dataset-name: unknown name fmnst; did you mean fmnist?",
        ),
        (f"{CIFAR_10} --n-corrupt-sources 60", "no more than the 10 sources that there are can be corrupt"),
        (f"{CIFAR_10} --leniency nan", "leniency"),
    ],
)
def test_mistake_is_one_sentence(line: str, sentence: str, studies: dict[str, Study]) -> None:
    with pytest.raises(UserError) as problem:
        convert(line.split(), studies)
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


# -- the page --------------------------------------------------------------------------------------


def test_page_answers_every_script(studies: dict[str, Study]) -> None:
    text = page(studies)
    for script in SCRIPTS:
        assert f"```sh\n{script}" in text
    assert "| `c_rl` | `random_label` |" in text
    assert "only='{dataset: cifar_10, corruption: random_label, method: lap" in text
    assert "```yaml\n# --device cuda: a job uses the GPU that is there.\n# 12_california_housing" in text
