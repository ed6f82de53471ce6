"""The command lines of the published LAP repository, in the words of this one.

`convert` reads the words of a published command line and looks up what our studies say. Where a study says
the same, the answer is a command; where it says something else, the answer is a study file on top of it;
where there is no study, the answer is that it comes later. What is not an answer is a comment (`#`), so
that a command can be pasted into a shell and a study file saved as it is printed.
"""

import functools
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml

from lapwing.conditions import Overrides, Value
from lapwing.corruption.seeds import seed_chain
from lapwing.errors import UserError, did_you_mean
from lapwing.results.artefact import Artefact
from lapwing.schema import validate
from lapwing.study import Cell, Grid, Study, as_list, merged, met, notebook_of

DATASETS = {"cifar10": "cifar_10", "cifar100": "cifar_100", "fmnist": "fashion_mnist"}
MODELS = {"Conv3Net": "conv3net", "Conv3Net_100": "conv3net", "MLP": "mlp"}
CORRUPTIONS = {
    "no_c": "original",
    "c_cs": "chunk_shuffle",
    "c_rl": "random_label",
    "c_lbf": "batch_label_flip",
    "c_ns": "added_noise",
    "c_lbs": "batch_label_shuffle",
    "c_no": "replaced_noise",
}
"""In the order of the scripts' loop, on which the seeds depend."""

Words = Mapping[str, list[Any]]
"""Option → the values that were given; none for a flag."""
Where = Mapping[str, Value | list[Value]]
"""Axis → a value or several."""
Studies = Mapping[str, Study]
"""By name, at the published size."""
Seeds = tuple[tuple[Mapping[str, Value], list[int]], ...]
"""Axis → value of some cells, beside what all cells share, and the seeds of these cells."""


@dataclass(frozen=True)
class Option:
    """An option of a published script."""

    kind: Literal["flag", "whole number", "number", "word"]
    several: bool = False
    sets: Callable[[Any], Overrides] | None = None
    """The conditions that a value stands for."""
    absent: Overrides | None = None
    """The conditions for which it stands that the option is not given."""
    remark: str = ""
    """What is to be said where it is given; `{}` is the value."""
    published: Value | None = None
    """The only value that our study has."""


@dataclass(frozen=True)
class Loop:
    """The order in which a script drew its seeds: one link of the chain for each setting of each run."""

    axis: str
    settings: tuple[Value, ...]
    rounds: int = 1
    """How often the settings come up in a run: the data sets that were visited."""
    alone: Mapping[int, Value] = field(default_factory=dict)
    """Starting value → the setting whose published values come from a call of its own."""

    def seeds(self, start: int, runs: int) -> dict[Value, list[int]]:
        """Setting → the seeds of its runs (lap-core 6.3; lap-experiments, section 0)."""
        step = self.rounds * len(self.settings)
        chain = seed_chain(start, runs * step)
        seeds = {setting: chain[place::step] for place, setting in enumerate(self.settings)}
        return seeds | ({self.alone[start]: chain[:runs]} if start in self.alone else {})


@dataclass(frozen=True)
class Script:
    """A published script: which artefacts it makes, and what it can be told."""

    artefacts: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    loop: Loop | None = None
    where: Where = field(default_factory=dict)
    """What it is about."""
    remark: str = ""
    starts: str = ""
    """The starting values of the chain that gave the published values, as `--seed` has them."""


@dataclass(frozen=True)
class Request:
    """What a command line asks for, in our words."""

    script: str
    artefacts: tuple[str, ...]
    where: Where = field(default_factory=dict)
    seeds: Seeds = ()
    """Empty: those of the study."""
    overrides: tuple[Overrides, ...] = ()
    """Conditions, as each option sets them."""
    remarks: tuple[str, ...] = ()


# -- what the published repository has -------------------------------------------------------------

_RUNS = {
    "--seed": Option("whole number"),
    "--runs": Option("whole number", several=True),
    "--device": Option("word"),
    "--test-dir": Option("word", remark="--test-dir: results are in outputs/paper."),
}
_ARMS = {
    "--depression": Option("flag"),
    "--no_depression": Option("flag"),
    "--results_name": Option("word", remark="--results_name: an artefact's files are called as it is."),
}
_LEVELS = {
    "--min_corruption_level": Option("number", published=0.25),
    "--max_corruption_level": Option("number", published=1.0),
}
_WITH_SCHEDULER = Option(
    "flag",
    remark="--scheduler: the published values come with it.",
    absent={"schedule": {"name": "constant"}},
)
_WITHOUT_SCHEDULER = Option(
    "flag",
    remark="--scheduler: the published values come without it.",
    sets=lambda _: {"schedule": {"name": "step", "every": 30, "factor": 0.1}},
)
_HALVED = Option("flag", sets=lambda _: {"schedule": {"name": "step", "every": 50, "factor": 0.5}})


def _lap(name: str) -> Callable[[Any], Overrides]:
    return lambda value: {"methods": {"lap": {name: value}}}


_SYNTHETIC = {
    "--model-name": Option("word"),
    "--dataset-name": Option("word"),
    "--seed": Option("whole number", several=True),
    "--n-sources": Option("whole number", sets=lambda value: {"sources": {"number": value}}),
    "--n-corrupt-sources": Option("whole number", sets=lambda value: {"sources": {"corrupt": value}}),
    "--source-size": Option(
        "whole number", sets=lambda value: {"sources": {"size": value}, "batch_size": value}
    ),
    "--lr": Option("number", sets=lambda value: {"optimiser": {"learning_rate": value}}),
    "--depression-strength": Option("number", sets=_lap("depression_strength")),
    "--leniency": Option("number", sets=_lap("leniency")),
    "--history-length": Option("whole number", sets=_lap("history_length")),
    "--hold-off": Option("whole number", sets=_lap("warmup_iters")),
    "--n-epochs": Option("whole number", sets=lambda value: {"epochs": value}),
    "--source-is-bool": Option("flag", sets=lambda _: {"train_on": "clean_sources"}),
    "--device": Option("word"),
    "-v": Option("flag"),
}
_CORRUPTION_LOOP = Loop("corruption", tuple(CORRUPTIONS.values()), rounds=3)

SCRIPTS = {
    "0_test_hparams.ipynb": Script(("figure_2", "hyperparameters")),
    "1_test_synthetic.py": Script(("table_1",), _SYNTHETIC),
    "2_test_presnet.py": Script(("table_2",), _RUNS),
    "3_test_ecg_different_noise.py": Script(
        ("figure_3a",),
        _RUNS | _LEVELS,
        Loop("n_corrupt", (2, 3, 4, 5, 6, 7, 8)),
        starts="--seed 123 --runs 1 2 3, and from --seed 45 --runs 4 5; those of 2, 4, 6 and 8 noisy sources "
        "from a loop over 2, 4, 6, 8 and 10",
    ),
    "4_test_cifar10n_different_noise_presnet.py": Script(("figure_3b",), _RUNS | _LEVELS),
    "5_test_nlp_random_label.py": Script(
        ("table_3",),
        _RUNS | {"--scheduler": _WITHOUT_SCHEDULER, "--results_name": _ARMS["--results_name"]},
        Loop("corruption", ("random_label", "random_permute", "original")),
        {"method": ["standard", "lap"]},
        starts="--seed 12345",
    ),
    "6_test_synthetic_batches_multiple_source.py": Script(
        ("table_4",),
        _RUNS,
        _CORRUPTION_LOOP,
        {"method": ["standard", "lap"]},
        starts="--seed 42",
    ),
    "7_test_synthetic_different_noise_presnet.py": Script(
        ("table_5",),
        _RUNS
        | {
            "--corruption_type": Option("word", published="c_lbf"),
            "--corruption_level": Option("number", remark="--corruption_level {}: one column of the table."),
        },
    ),
    "8_test_cifar10n_different_noise_low_capacity.py": Script(
        ("figure_4",),
        _RUNS | _LEVELS,
        Loop("n_corrupt", (6, 5, 4, 3, 2)),
        starts="--seed 123 --runs 1 2 3, and from --seed 45 --runs 4 5",
    ),
    "9_test_synthetic_batches_multiple_source_varied_sizes.py": Script(
        ("table_6",),
        _RUNS,
        _CORRUPTION_LOOP,
        {"block_size": 128},
        remark="The script gave batch_label_flip and batch_label_shuffle ten sources, whatever the column.",
        starts="--seed 42",
    ),
    "10_tiny_imagenet_random_label.py": Script(
        ("table_7",),
        _RUNS | _ARMS | {"--scheduler": _WITH_SCHEDULER},
        Loop("corruption", ("random_label", "original")),
        starts="--seed 12345",
    ),
    "11_imagenet64_random_label_and_noise.py": Script(
        ("table_8", "table_9", "figure_5"),
        _RUNS | _ARMS | {"--scheduler": _WITH_SCHEDULER},
        Loop("corruption", ("wrapped_noise_and_random_label",)),
        starts="--seed 12345",
    ),
    "12_california_housing_regression.py": Script(
        ("table_10",),
        _RUNS | _ARMS | {"--scheduler": _HALVED},
        Loop("corruption", ("random_label", "original"), alone={12345: "original"}),
        starts="--seed 12345, original data in a call of its own",
    ),
}
SYNTHETIC_BASELINES, IMDB_BASELINES = "synthetic_baseline_experiments.py", "IMDB_baseline_experiments.py"
BASELINES = {SYNTHETIC_BASELINES: ("coteaching", "idpa", "rrl"), IMDB_BASELINES: ("coteaching", "idpa")}
"""Script → the folders that have it, which are called as their methods."""


_SEEDS_OF_TABLE_1 = {
    "--seed": Option("whole number", remark="--seed {}: the seeds are those of table_1."),
    "--runs": Option("whole number", several=True, remark="--runs: the seeds are those of table_1."),
}


def _baseline(script: str, method: str, mixed: bool) -> Script:
    options = _RUNS | {"--multiple_sources_in_batch": Option("flag")}
    if script == IMDB_BASELINES or method == "rrl":
        artefact = "table_3" if script == IMDB_BASELINES else "table_2"
        return Script((artefact,), options, where={"method": method})
    if mixed:
        return Script(("table_4",), options, _CORRUPTION_LOOP, {"method": method}, starts="--seed 42")
    remark = (
        "Every method of table_1 has the same seeds and conditions; the published columns have their own."
    )
    return Script(("table_1",), options | _SEEDS_OF_TABLE_1, where={"method": method}, remark=remark)


PUBLISHED = (
    "1_test_synthetic.py --model-name [MODEL]-[CORRUPTION]-drstd --dataset-name [DATASET] --seed 2 4 8 16 32 "
    "--n-sources 10 --n-corrupt-sources 4 --source-size 128 --depression-strength 1.0 --leniency 0.8 "
    "--history-length 25 --n-epochs 25 -v",
    "1_test_synthetic.py --model-name Conv3Net-c_rl-drstd --dataset-name cifar10 --seed 2 4 8 16 32 "
    "--n-sources 10 --n-corrupt-sources 4 --source-size 128 --depression-strength 1.0 --leniency 0.8 "
    "--history-length 25 --n-epochs 25 -v",
    "1_test_synthetic.py --model-name Conv3Net_100-c_rl-drstd --dataset-name cifar100 --seed 2 4 8 16 32 "
    "--n-sources 10 --n-corrupt-sources 2 --source-size 128 --depression-strength 1.0 --leniency 0.8 "
    "--history-length 25 --n-epochs 25 -v",
    "1_test_synthetic.py --model-name MLP-c_rl-drstd --dataset-name fmnist --seed 2 4 8 16 32 "
    "--n-sources 10 --n-corrupt-sources 6 --source-size 200 --depression-strength 0.0 --n-epochs 40 -v",
    "2_test_presnet.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "3_test_ecg_different_noise.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "4_test_cifar10n_different_noise_presnet.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "5_test_nlp_random_label.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "6_test_synthetic_batches_multiple_source.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "7_test_synthetic_different_noise_presnet.py --corruption_level 0.5 --seed 2 --runs 1 2 3 4 5 "
    "--device cuda",
    "8_test_cifar10n_different_noise_low_capacity.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "9_test_synthetic_batches_multiple_source_varied_sizes.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "10_tiny_imagenet_random_label.py --seed 2 --runs 1 2 3 4 5 --device cuda --scheduler",
    "11_imagenet64_random_label_and_noise.py --seed 2 --runs 1 2 3 4 5 --device cuda --scheduler",
    "12_california_housing_regression.py --seed 2 --runs 1 2 3 4 5 --device cuda",
    "12_california_housing_regression.py --seed 12345 --runs 1 2 3 4 5",
    "0_test_hparams.ipynb",
    *(f"{folder}/{script}" for script, folders in BASELINES.items() for folder in folders),
    *(f"{folder}/{SYNTHETIC_BASELINES} --multiple_sources_in_batch" for folder in ("coteaching", "idpa")),
)
"""The command lines that the page of the documentation answers."""


# -- from words to a request -----------------------------------------------------------------------


def convert(words: Sequence[str], studies: Studies) -> str:
    """What says the same here as a command line of the published repository.

    Args:
        words: the script and its options; a `python` before them is left out.
        studies: name → study, at the published size.

    Raises:
        UserError: a script, option or value is not known, or our study cannot say it.
    """
    return "\n".join(_answer(_request(words), studies)) + "\n"


def is_study(answer: str) -> bool:
    """Whether an answer is a study file, and no command."""
    return re.search("^title:", answer, re.MULTILINE) is not None


def _request(words: Sequence[str]) -> Request:
    words = words[1:] if words[:1] in (["python"], ["python3"]) else words
    if not words:
        raise UserError(f"convert lap: which script? {did_you_mean('', SCRIPTS)}")
    name, script = _script(words[0], "--multiple_sources_in_batch" in words)
    given = _read(name, script.options, words[1:])
    if name == "1_test_synthetic.py":
        return _synthetic(name, script, given)
    return Request(
        name,
        script.artefacts,
        {**script.where, **_arm(given)},
        _chain(script.loop, given),
        _overrides(script.options, given),
        (*_remarks(script, given), *_remarks_on_runs(script.loop, given)),
    )


def _script(word: str, mixed: bool) -> tuple[str, Script]:
    path = PurePosixPath(word)
    if path.name in SCRIPTS:
        return path.name, SCRIPTS[path.name]
    if path.name not in BASELINES:
        raise UserError(
            f"convert lap: unknown script {path.name}; {did_you_mean(path.name, SCRIPTS | BASELINES)}"
        )
    folders = BASELINES[path.name]
    if path.parent.name not in folders:
        known = ", ".join(f"{folder}/{path.name}" for folder in folders)
        raise UserError(f"convert lap: {path.name}: its folder says which method is meant: {known}.")
    return f"{path.parent.name}/{path.name}", _baseline(path.name, path.parent.name, mixed)


def _read(script: str, options: Mapping[str, Option], words: Sequence[str]) -> Words:
    """The options of a command line; the last of several equal ones counts, as in the scripts."""
    given: dict[str, list[Any]] = {}
    last = ""
    for word in itertools.chain.from_iterable(map(_parts, words)):
        if _is_option(word):
            if word not in options:
                raise UserError(f"{script}: unknown option {word}; {did_you_mean(word, options)}")
            last, given[word] = word, []
        elif not last or options[last].kind == "flag" or (given[last] and not options[last].several):
            raise UserError(f"{script}: unexpected word {word}{f' after {last}' if last else ''}.")
        else:
            given[last].append(_value(f"{script}: {last}", options[last], word))
    for name, values in given.items():
        if not values and options[name].kind != "flag":
            raise UserError(f"{script}: {name} needs a value ({options[name].kind}).")
    return given


def _is_option(word: str) -> bool:
    return re.match(r"-+[a-zA-Z]", word) is not None


def _parts(word: str) -> list[str]:
    """`--seed=2` is two words."""
    return word.split("=", 1) if _is_option(word) else [word]


def _value(where: str, option: Option, word: str) -> Value:
    read: Callable[[str], Value] = {"whole number": int, "number": float}.get(option.kind, str)
    try:
        value = read(word)
    except ValueError:
        raise UserError(f"{where} needs a {option.kind} (it is {word}).") from None
    if option.published is not None and value != option.published:
        raise UserError(f"{where}: the published values, and so our studies, have {option.published} only.")
    if option.kind == "whole number" and int(value) < 0:
        raise UserError(f"{where} cannot be negative (it is {word}).")
    return value


_BLANKS = (
    "{} stand for names, such as --model-name Conv3Net-c_rl-drstd --dataset-name cifar10; until they are "
    "filled in, all data sets and corruptions are meant, and further options are those of the study."
)


def _synthetic(name: str, script: Script, given: Words) -> Request:
    """Script 1: one dataset, corruption and method; its seeds are those of the runs."""
    for option in ("--model-name", "--dataset-name"):
        if option not in given:
            raise UserError(f"{name} needs {option}.")
    parts: list[str] = given["--model-name"][0].split("-")
    if len(parts) != 3 or parts[2] != "drstd":
        raise UserError(
            f"{name}: --model-name is MODEL-CORRUPTION-drstd, such as Conv3Net-c_rl-drstd "
            f"(it is {given['--model-name'][0]})."
        )
    off = given.get("--depression-strength") == [0.0] or "--source-is-bool" in given
    seeds: Seeds = (({}, list(dict.fromkeys(given["--seed"]))),) if "--seed" in given else ()
    if blanks := [word for word in (*parts[:2], given["--dataset-name"][0]) if re.fullmatch(r"\[.*\]", word)]:
        method: Where = {"method": "standard" if off else "lap"}
        return Request(name, script.artefacts, method, seeds, remarks=(_BLANKS.format(_and(blanks)),))
    where = {
        "dataset": _known(f"{name}: --dataset-name", DATASETS, given["--dataset-name"][0]),
        "corruption": _known(f"{name}: --model-name: corruption", CORRUPTIONS, parts[1]),
        "method": "standard" if off else "lap",
    }
    model = _known(f"{name}: --model-name: model", MODELS, parts[0])
    overrides: tuple[Overrides, ...] = ({"model": {"name": model}}, *_overrides(script.options, given))
    return Request(name, script.artefacts, where, seeds, overrides, _remarks(script, given))


def _known(where: str, names: Mapping[str, str], word: str) -> str:
    if word not in names:
        raise UserError(f"{where}: unknown name {word}; {did_you_mean(word, names)}")
    return names[word]


def _arm(given: Words) -> dict[str, Value]:
    arms = {"--depression": "lap", "--no_depression": "standard"}
    asked = [method for option, method in arms.items() if option in given]
    return {"method": asked[0]} if len(asked) == 1 else {}


def _chain(loop: Loop | None, given: Words) -> Seeds:
    if loop is None:
        return ()
    [start], runs = given.get("--seed", [42]), given.get("--runs", [1, 2, 3, 4, 5])
    return tuple(({loop.axis: setting}, seeds) for setting, seeds in loop.seeds(start, len(runs)).items())


def _overrides(options: Mapping[str, Option], given: Words) -> tuple[Overrides, ...]:
    sets = [(options[name].sets, values or [True]) for name, values in given.items()]
    absent = (option.absent for name, option in options.items() if name not in given)
    return (*(setting(*values) for setting, values in sets if setting), *filter(None, absent))


def _remarks(script: Script, given: Words) -> tuple[str, ...]:
    remarks = [script.remark] if script.remark else []
    for name, values in given.items():
        if name == "--device":
            hide = "; CUDA_VISIBLE_DEVICES= before the command hides it" if values == ["cpu"] else ""
            remarks.append(f"--device {values[0]}: a job uses the GPU that is there{hide}.")
        elif script.options[name].remark:
            remarks.append(script.options[name].remark.format(*values))
    return tuple(remarks)


def _remarks_on_runs(loop: Loop | None, given: Words) -> tuple[str, ...]:
    runs = given.get("--runs", [])
    if loop is None or runs == list(range(1, len(runs) + 1)):
        return ()
    shown = " ".join(map(str, runs))
    return (f"--runs {shown}: every call starts the chain anew, so these have the seeds of the first runs.",)


# -- from a request to an answer -------------------------------------------------------------------


def _answer(request: Request, studies: Studies) -> Iterator[str]:
    yield from (f"# {remark}" for remark in request.remarks)
    owners = {artefact: study for study in studies.values() for artefact in study.artefacts}
    later = [artefact for artefact in request.artefacts if artefact not in owners]
    if later:
        yield f"# {_and(later)} {'come' if later[1:] else 'comes'} later: not in this version yet."
    there = [artefact for artefact in request.artefacts if artefact in owners]
    if there and not (request.seeds or request.overrides or request.where):
        yield "# Its seeds are those of the study."
        yield command(there)
    else:
        for owner in dict.fromkeys(owners[artefact].name for artefact in there):
            of_owner = {name: studies[owner].artefacts[name] for name in there if owners[name].name == owner}
            yield from _of_artefacts(request, of_owner, studies[owner], studies)


def _of_artefacts(
    request: Request, artefacts: Mapping[str, Artefact], owner: Study, studies: Studies
) -> Iterator[str]:
    """The answer for artefacts of one study, from it or from a further study that they show."""
    further = dict.fromkeys(name for artefact in artefacts.values() for name in artefact.studies)
    behind = [owner, *(studies[name] for name in further)]
    missing = [_missing(request, study) for study in behind]
    if all(missing):
        yield f"# {_and(list(artefacts))} has no {missing[0]} yet; it comes later."
    else:
        yield from _of_study(request, artefacts, behind[missing.index("")])


def _of_study(request: Request, artefacts: Mapping[str, Artefact], study: Study) -> Iterator[str]:
    apart = [each for each in request.overrides if not _says(study, request, each)]
    overrides: Overrides = functools.reduce(merged, apart, {})
    if apart or not _seeds_are_there(request, study):
        yield from _heading(request, study, list(artefacts), overrides)
        yield _study_file(request, study, artefacts, overrides)
    else:
        yield command(list(artefacts), _only(request, study))


def _missing(request: Request, study: Study) -> str:
    """An axis and its value that are asked for and that the study lacks, if any."""
    asked = [request.where, *(where for where, _ in request.seeds)]
    lacking = (
        f"{axis} {value}"
        for where in asked
        for axis, wanted in where.items()
        for value in as_list(wanted)
        if value not in study.values.get(axis, [])
    )
    return next(lacking, "")


def _says(study: Study, request: Request, overrides: Overrides) -> bool:
    try:
        return not _differences(study, _altered(request, study, overrides))
    except UserError:
        return False  # it may be possible together with the other options


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def command(artefacts: Sequence[str], only: object = None) -> str:
    """The command that makes artefacts at the published size, of the runs that `only` leaves."""
    selection = f" only={shlex.quote(_flow(only))}" if only else ""
    return f"snakemake {' '.join(artefacts)} --cores all --config scale=paper{selection}"


def _flow(value: object) -> str:
    return yaml.dump(value, Dumper=_Plain, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _cells(study: Study, where: Where) -> list[Cell]:
    return [
        cell
        for cell in study.cells
        if all(cell.axes[axis] in as_list(wanted) for axis, wanted in where.items())
    ]


def _seeds_are_there(request: Request, study: Study) -> bool:
    return all(
        set(seeds) <= set(cell.seeds)
        for where, seeds in request.seeds
        for cell in _cells(study, {**request.where, **where})
    )


def _only(request: Request, study: Study) -> object:
    """The selection; none where it would leave everything."""
    selections = [{**request.where, **where, "seed": seeds} for where, seeds in request.seeds]
    all_seeds = all(
        set(seeds) == set(cell.seeds)
        for where, seeds in request.seeds
        for cell in _cells(study, {**request.where, **where})
    )
    if all_seeds:
        return dict(request.where)
    return selections[0] if len(selections) == 1 else selections


def _altered(request: Request, study: Study, overrides: Overrides) -> Study:
    """The study in the part that is asked for, with other conditions; checked."""
    grids = _narrowed(study, request.where)
    inherited = [{"where": where, "set": c.set} for c in study.special if (where := met(c.where, grids))]
    special = [*inherited, *_special(request, study, overrides)]
    values = {**study.model_dump(mode="json"), "grid": grids, "special": special}
    altered = validate(Study, values, request.script)
    _ = altered.cells  # builds, and so checks, every cell
    return altered


def _narrowed(study: Study, where: Where) -> list[Grid]:
    """The grids in the part that is asked for."""
    return [
        grid | {axis: as_list(value) for axis, value in where.items()}
        for grid in study.grid
        if all(set(as_list(value)) <= set(grid[axis]) for axis, value in where.items())
    ]


def _special(request: Request, study: Study, overrides: Overrides) -> list[Overrides]:
    """What is said on top of the study, last of all: its own special cases come before."""
    cases = [(request.where, overrides)] if overrides else []
    cases += [({**request.where, **where}, {"seeds": seeds}) for where, seeds in request.seeds]
    everywhere = {"dataset": study.values["dataset"]}
    return [{"where": dict(where) or everywhere, "set": sets} for where, sets in cases]


def _differences(study: Study, altered: Study) -> list[str]:
    """What the cells that are asked for have and those of the study do not, seeds aside."""
    found: dict[str, None] = {}
    for cell in altered.cells:
        [ours] = _cells(study, cell.axes)
        before = dict(_leaves(ours.settings.model_dump(mode="json")))
        for name, value in _leaves(cell.settings.model_dump(mode="json")):
            if before.get(name) != value and not name.endswith("version"):
                path = name.split("options.")[-1].removeprefix("corruption.")
                found[f"{path} {value} ({study.name}: {before.get(name)})"] = None
    return list(found)


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _heading(request: Request, study: Study, artefacts: Sequence[str], overrides: Overrides) -> Iterator[str]:
    """What differs, and what to do with the study file, which is called after the first artefact."""
    yield f"# {request.script} is told something else than the study {study.name} says:"
    yield from (f"#   {each}" for each in _differences(study, _altered(request, study, overrides)))
    if not _seeds_are_there(request, study):
        yield f"#   seeds ({study.name} has other ones)"
        yield from _published_seeds(request, artefacts)
    yield f"# Save this as studies/my_{artefacts[0]}.yaml, then:"
    for artefact in artefacts:
        if notebook_of(artefact).stem == artefact:
            yield f"#   cp notebooks/{artefact}.ipynb notebooks/my_{artefact}.ipynb"
    yield f"#   {command([f'my_{artefact}' for artefact in artefacts])}"


def _study_file(
    request: Request, study: Study, artefacts: Mapping[str, Artefact], overrides: Overrides
) -> str:
    several = study.grid[1:]
    grid = (
        _narrowed(study, request.where)
        if several
        else {axis: as_list(v) for axis, v in request.where.items()}
    )
    content: Overrides = {"grid": grid, "special": _special(request, study, overrides)}
    alike = {
        f"my_{name}": _artefact(artefact, study, comparable=not overrides)
        for name, artefact in artefacts.items()
    }
    at_demo: Overrides = {"special": []}  # they name the published data
    if compared := [name for name, artefact in alike.items() if "published" in artefact]:
        at_demo["artefacts"] = {name: {"published": None} for name in compared}
    content["scales"] = {"demo": at_demo}
    head = {
        "title": f"{study.title}, as in a published command line",
        "base": study.name,
        "artefacts": alike,
    }
    text = yaml.dump({**head, **content}, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=100)
    return text.rstrip()


class _Plain(yaml.SafeDumper):
    """YAML in which a list that stands in two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _published_seeds(request: Request, artefacts: Sequence[str]) -> Iterator[str]:
    script = SCRIPTS.get(request.script)
    starts = script.starts if script else "--seed 42"
    if starts:
        yield f"# The published values come from {starts}:"
        yield f"#   {command(artefacts)}"


def _artefact(artefact: Artefact, study: Study, comparable: bool) -> Overrides:
    """An artefact like it, beside the published values only if the seeds alone differ."""
    published = {"published", "published_columns"}
    like = artefact.model_dump(mode="json", exclude_defaults=True, exclude=set() if comparable else published)
    return like | {"title": f"As in a published command line: {study.title[0].lower()}{study.title[1:]}"}


# -- the page of the documentation -----------------------------------------------------------------

_INTRODUCTION = """# Coming from the published scripts

`lapwing convert lap <script> <its options>` prints what says the same here as a command line of the published
LAP repository: a command, a study file where our study says something else, or that it comes later. A
baseline script is named with its folder, which says which method is meant. Here are the published command
lines, each with its answer.

`lapwing convert --out studies/my_table_1.yaml lap …` writes a study file; what a shell makes of `>` is empty
while the studies are read, and an empty file is no study. Script 1 takes the seeds of its runs. The others
draw them in a chain that starts at `--seed`, one link for each run and setting. There, a seed decided split,
sources and corruption only; here, it decides the first weights and the order of batches too, and it is the
same for all methods.
"""


def page(studies: Studies) -> str:
    """The page that answers every published command line; `studies` is name → study."""
    names = {**DATASETS, **MODELS, **CORRUPTIONS}
    rows = [f"| `{theirs}` | `{ours}` |" for theirs, ours in names.items()]
    answers = [f"```sh\n{line}\n```\n\n{_block(convert(shlex.split(line), studies))}" for line in PUBLISHED]
    return "\n".join([_INTRODUCTION, "| there | here |", "| --- | --- |", *rows, "", *answers])


def _block(answer: str) -> str:
    language = "yaml" if is_study(answer) else "sh"
    return f"becomes\n\n```{language}\n{answer}```\n"
