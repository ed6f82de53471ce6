"""F41 to F46: what a user may write into settings, names and tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
import yaml

from lapwing import files
from lapwing.cli import main
from lapwing.corruption.base import CorruptionSettings, write_corruption
from lapwing.plan import Plan
from lapwing.study import merged
from lapwing.weighting import SourceLossWeighting
from tests.faults.outcomes import is_clear, refusal
from tests.training.parts import cell_of, train
from tests.workflow.conftest import STUDY, Project, new_project

ROOT = Path(__file__).parent.parent.parent
SHELL = "$(touch PWNED); `touch PWNED` && touch PWNED | touch PWNED > PWNED"


def planned(folder: Path, study: Mapping[str, Any] = STUDY, name: str = "tiny", **config: Any) -> Plan:
    """What the workflow plans of one study and some settings."""
    studies = folder / "studies"
    studies.mkdir(exist_ok=True)
    (studies / f"{name}.yaml").write_text(yaml.safe_dump(dict(study)), encoding="utf-8")
    settings = {"scale": "paper", "studies": str(studies), **config}
    return Plan(settings, folder / "raw", ROOT / "published")


def refused(folder: Path, study: Mapping[str, Any] = STUDY, name: str = "tiny", **config: Any) -> str:
    """The sentence with which settings are refused, before any job."""
    return refusal(planned, folder, study, name, **config)


# -- F41, F42: keys and values ---------------------------------------------------------------------------


@pytest.mark.fault("F41", "config.yaml or a study has a key that there is not", "refused")
def test_unknown_key(tmp_path: Path) -> None:
    assert "config: unknown key scael; did you mean scale?" in refused(tmp_path, scael="demo")
    assert "unknown key data.mirorr; did you mean mirror?" in refused(tmp_path, data={"mirorr": "x"})
    sentence = refused(tmp_path, merged(STUDY, {"conditions": {"epoch": 3}}))
    assert "studies/tiny.yaml" in sentence
    assert "epoch; did you mean epochs?" in sentence
    sentence = refused(tmp_path, merged(STUDY, {"conditions": {"methods": {"lap": {"histry_length": 3}}}}))
    assert "histry_length; did you mean history_length?" in sentence


@pytest.mark.fault("F42", "a value has the wrong type, or lies outside its range", "refused")
@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"epochs": "three"}, "epochs"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch_size": -32}, "batch_size"),
        ({"optimiser": {"lr": float("nan")}}, "optimiser"),
        ({"level": 1.5}, "level"),
        ({"sources": {"number": 5, "corrupt": 6}}, "corrupt"),
        ({"seeds": [-1]}, "seed"),
        ({"seeds": [2**40]}, "seed"),
        ({"seeds": []}, "seeds"),
        ({"methods": {"lap": {"depression_strength": "strong"}}}, "depression_strength"),
    ],
    ids=str,
)
def test_wrong_value(tmp_path: Path, conditions: dict[str, Any], told: str) -> None:
    sentence = refused(tmp_path, merged(STUDY, {"conditions": conditions}))
    assert "studies/tiny.yaml" in sentence
    assert told in sentence


@pytest.mark.fault("F42", "a setting of config.yaml has the wrong type, or lies outside its range", "refused")
@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"scale": "papr"}, "config: scale"),
        ({"gpu": -1}, "config: gpu"),
        ({"memory_mb": "much"}, "config: memory_mb"),
        ({"data": {"mirror": "nowhere"}}, "There is no folder nowhere"),
        ({"only": {"seed": "eleven"}}, "only: no run has seed eleven"),
    ],
    ids=str,
)
def test_wrong_setting(tmp_path: Path, config: dict[str, Any], told: str) -> None:
    assert told in refused(tmp_path, **config)


# -- F43, F46: names -------------------------------------------------------------------------------------

NAMES = ["..", "../out", "a b", "it's", 'a"b', "a\nb", "größe", "a\u202eb", SHELL, "-rf", ""]


@pytest.mark.fault(
    "F43", "the name of an artefact, axis or dataset has .., a space, quotes or a newline", "refused"
)
@pytest.mark.parametrize("name", NAMES)
def test_name_in_a_study(tmp_path: Path, name: str) -> None:
    artefact = STUDY["artefacts"]["tiny"]
    for study in (
        {**STUDY, "artefacts": {name: artefact}},
        merged(STUDY, {"grid": {name: [1, 2]}, "axes": {name: "sources.corrupt"}}),
        merged(STUDY, {"grid": {"dataset": [name]}}),
        merged(STUDY, {"grid": {"method": [name]}}),
        merged(STUDY, {"conditions": {"model": {"name": name}}}),
        {**STUDY, "base": name},
    ):
        assert "studies/tiny.yaml" in refused(tmp_path, study)
    assert {path.name for path in tmp_path.iterdir()} == {"studies"}


@pytest.mark.fault(
    "F43", "the file of a study has a space, quotes or another alphabet in its name", "refused"
)
@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name and name not in ("", "..")])
def test_name_of_a_study(tmp_path: Path, name: str) -> None:
    assert "name" in refused(tmp_path, name=name)


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault(
    "F43", "the checkout and the mirror lie in folders with space, quote and umlaut", "recovered"
)
def test_folders_with_any_name(tmp_path: Path) -> None:
    folder, mirror = tmp_path / "it's größe $HOME; x", tmp_path / 'a "mirror" ü'
    folder.mkdir()
    mirror.mkdir()
    project = new_project(folder)
    config = {
        "scale": "paper",
        "data": {"offline": True, "mirror": str(mirror)},
        "finished_runs": "kept here",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.run()
    assert (folder / "outputs" / "paper" / "report.html").is_file()
    assert list((folder / "kept here").glob("*/seed=*"))


@pytest.mark.workflow
@pytest.mark.fault("F43", "a target leads out of the folder of outputs", "refused")
@pytest.mark.parametrize("target", ["../tiny", "outputs/paper/tables/../../../../evil.csv"])
def test_target_that_leads_out(project: Project, tmp_path: Path, target: str) -> None:
    text = project.run(target, ok=False)
    assert "Traceback" not in text
    assert target in text or "evil.csv" in text
    assert not (project.folder / "outputs").exists()
    assert not (tmp_path.parent / "evil.csv").exists()


@pytest.mark.workflow
@pytest.mark.fault("F46", "settings and targets hold commands of a shell", "refused")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--config", f"scale={SHELL}"], "config: scale"),
        (["--config", f"only={{method: '{SHELL}'}}"], "only: no run has method"),
        ([SHELL], "There is no target"),
    ],
    ids=["scale", "only", "target"],
)
def test_commands_of_a_shell(project: Project, words: list[str], told: str) -> None:
    is_clear(project.run(*words, ok=False), told)
    assert not list(project.folder.rglob("PWNED*"))
    assert not (project.folder / "outputs").exists()


@pytest.mark.workflow
@pytest.mark.slow_fault
@pytest.mark.fault("F46", "paths and titles that may be anything hold commands of a shell", "recovered")
def test_commands_in_what_may_be_anything(project: Project, tmp_path: Path) -> None:
    folder = SHELL.replace("/", "")
    (tmp_path / "mirrors" / folder).mkdir(parents=True)
    mirror = str(tmp_path / "mirrors" / folder)
    config = {"scale": "paper", "data": {"offline": True, "mirror": mirror}, "finished_runs": folder}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.write_study(merged(STUDY, {"title": SHELL, "artefacts": {"tiny": {"title": SHELL}}}))
    project.run()
    assert not list(tmp_path.rglob("PWNED"))
    assert "$(touch PWNED)" in (project.folder / "outputs" / "paper" / "report.html").read_text()


# -- F44, F45: seeds and sources -------------------------------------------------------------------------


@pytest.mark.fault("F44", "a study lists a seed twice", "refused")
def test_seed_listed_twice(tmp_path: Path) -> None:
    sentence = refused(tmp_path, merged(STUDY, {"conditions": {"seeds": [1, 2, 1]}}))
    assert "studies/tiny.yaml" in sentence
    assert "seed 1 is listed twice" in sentence


@pytest.mark.fault("F44", "the command line selects a seed twice: it is one run", "recovered")
def test_seed_selected_twice(tmp_path: Path) -> None:
    selected = planned(tmp_path, only=[{"seed": [1, 1]}, {"seed": "1"}]).selected["tiny"]
    assert all(cell.seeds == [1] for cell in selected)
    assert len(selected) == len(planned(tmp_path).selected["tiny"])


def records(folder: Path, table: str) -> Path:
    """A table of records, each of which is there."""
    (folder / "table.csv").write_text(table)
    for row in table.splitlines()[1:]:
        signals = np.random.default_rng(len(row)).normal(size=(64, 1))
        wfdb.wrsamp(
            row.split(",")[0], fs=100, units=["mV"], sig_name=["II"], p_signal=signals, fmt=["16"],
            write_dir=str(folder),
        )  # fmt: skip
    return folder / "table.csv"


@pytest.mark.fault("F45", "one's own table has no column of sources, or a row without one", "refused")
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("record,label\nr1,a\nr2,b\n", "table.csv"),
        ("record,label,source\nr1,a,Anna\nr2,b,\n", "table.csv: row 2 has an empty source"),
        ("record,label,source\nr1,a,Anna\nr2,b\n", "table.csv"),
    ],
    ids=["no column", "empty", "short row"],
)
def test_table_without_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, told: str
) -> None:
    out = tmp_path / "records.safetensors"
    with pytest.raises(SystemExit) as ended:
        main(["records", str(records(tmp_path, table)), "--out", str(out)])
    sentence = str(ended.value)
    is_clear(sentence, told, "source")
    assert not out.exists()


@pytest.mark.fault("F45", "one's own table has one source: LAP trains as standard training does", "recovered")
def test_table_with_one_source(tmp_path: Path) -> None:
    table = "record,label,source\n" + "".join(f"r{row},{'ab'[row % 2]},Anna\n" for row in range(8))
    out = tmp_path / "records.safetensors"
    main(["records", str(records(tmp_path, table)), "--out", str(out)])
    arrays, about = files.read_arrays(out)
    assert about["sources"] == ["Anna"]
    weighting = SourceLossWeighting(history_length=2, warmup_iters=0, depression_strength=1.0, leniency=0.0)
    losses = torch.rand(8)
    for _ in range(5):
        weighted = weighting(losses, torch.from_numpy(arrays["train/source"]))
        assert torch.equal(weighted, losses)


@pytest.mark.slow_fault
@pytest.mark.fault("F45", "there are 100,000 sources of one sample each", "recovered")
def test_very_many_sources(tmp_path: Path) -> None:
    """Decided, trained on by LAP, and kept, through the stages themselves."""
    number = 100_000
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 10, number)
    inputs = np.eye(10, dtype=np.float32)[targets] + generator.normal(size=(number, 10)).astype(np.float32)
    arrays = {"train/inputs": inputs, "train/targets": targets, "train/source": np.arange(number)}
    arrays |= {"test/inputs": inputs[:1000], "test/targets": targets[:1000]}
    about = {"dataset": "digits", "version": 1, "task": "classification", "classes": 10, "scale": 1.0}
    data = tmp_path / "data.safetensors"
    files.write_arrays(data, arrays, about)
    cell = cell_of(method="lap", options={"form": "loss", "history_length": 2}, seeds=(1,), batch_size=1000)
    cell["settings"] |= {"layout": "mixed", "epochs": 3}
    cell["settings"]["corruption"]["sources"] = {"number": number, "corrupt": 1000, "assignment": "given"}
    decided = tmp_path / "decided.safetensors"
    write_corruption(data, CorruptionSettings.model_validate(cell["settings"]["corruption"]), 1, decided)
    metrics, sources, _ = train(tmp_path, [cell], data=data, corrupted=[decided])
    tested = metrics.query("split == 'test' and metric == 'top_1'")["value"].tolist()
    assert tested[-1] > tested[0]
    assert sources["source"].nunique() == number
    assert int(sources.groupby("source")["is_corrupt"].first().sum()) == 1000
    assert np.isfinite(sources.query("epoch == 3")["mean_loss"]).all()
