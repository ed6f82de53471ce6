"""What a site says in `config.yaml: slurm`, and what jobs ask for then."""

import re
from pathlib import Path

import pytest
import yaml
from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

from lapwing.errors import UserError
from lapwing.schema import validate
from lapwing.settings import Settings
from tests.workflow.conftest import Project, new_demo


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("account", "me; rm -r outputs"),
        ("partition", "$(id)"),
        ("partition", "cpu\n"),
        ("qos", "-A other"),
        ("constraint", "`id`"),
        ("constraint", "a || id"),
        ("gpu_model", "a100'"),
        ("gpu_model", "a100-sxm4-40gb"),
        ("extra", ["--mail-type=FAIL; id"]),
        ("extra", ["--mail-user=$USER"]),
        ("extra", ["id"]),
        ("extra", ["--mail-type=FAIL", "--time=10"]),
        ("constraint", "|rack1"),
    ],
)
def test_a_value_that_is_more_than_a_word_is_refused(key: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^config: slurm\.{key}.* must be .* \(it is "):
        validate(Settings, {"slurm": {key: value}}, "config")


def test_a_model_that_the_plugin_would_refuse_is_asked_for_otherwise() -> None:
    with pytest.raises(UserError, match="gpu_constraint"):
        validate(Settings, {"slurm": {"gpu_model": "a100-sxm4-40gb"}}, "config")


def test_no_option_is_accepted_that_the_plugin_would_refuse() -> None:
    patterns = " ".join(get_forbidden_slurm_options())
    names = re.findall(r"--([a-z-]+)", patterns)
    assert {"time", "gres", "ntasks-per-gpu", "parsable"} <= set(names)
    for name in names:
        with pytest.raises(UserError, match="must be another option"):
            validate(Settings, {"slurm": {"extra": [f"--{name}=1"]}}, "config")


@pytest.mark.parametrize(
    "option", ["--wait", "--wrap=id", "--array=1-3", "--test-only", "--chdir=/tmp", "--help", "--version"]
)
def test_an_option_that_snakemake_cannot_follow_is_refused(option: str) -> None:
    with pytest.raises(UserError, match="must be another option: Snakemake could not follow jobs with this"):
        validate(Settings, {"slurm": {"extra": [option]}}, "config")


@pytest.mark.parametrize("features", ["avx512", "icelake|rome", "[rack1|rack2]", "(knl&snc4)|haswell"])
def test_every_way_to_ask_for_features_is_accepted(features: str) -> None:
    site = {"constraint": features, "gpu_constraint": features}
    assert validate(Settings, {"slurm": site}, "config").slurm.constraint == features


def test_a_limit_of_memory_that_no_training_keeps_is_refused() -> None:
    keys = {"memory_mb": 16000, "gpu": 2, "slurm": {"max_memory_mb": 30000}}
    sentence = "^config: slurm: max_memory_mb is 30000, and memory_mb grants a training job 32000"
    with pytest.raises(UserError, match=sentence):
        validate(Settings, keys, "config")


@pytest.mark.parametrize("option", ["--mail-type=FAIL", "--exclusive", "--time-min=10", "--wait-all-nodes=1"])
def test_other_options_are_accepted(option: str) -> None:
    assert validate(Settings, {"slurm": {"extra": [option]}}, "config").slurm.extra == [option]


def test_a_misspelt_key_is_named_with_the_right_one() -> None:
    with pytest.raises(UserError, match="unknown key slurm.gpu_partion; did you mean gpu_partition?"):
        validate(Settings, {"slurm": {"gpu_partion": "gpu"}}, "config")


EXPECTED = {"prepare": "45", "corrupt": "6", "aggregate": "10", "present_table": "10"}
"""Minutes of a first attempt, where a job may ask for 45."""


@pytest.mark.workflow
def test_jobs_ask_for_what_the_site_says(project: Project) -> None:
    site = {
        "account": "mygroup",
        "partition": "short,long",
        "constraint": "icelake|rome",
        "gpu_account": "mygroup_gpu",
        "gpu_partition": "gpu",
        "gpu_model": "a100",
        "gpu_by": "gres",
        "extra": ["--mail-type=FAIL", "--exclude=node[1-4]"],
        "max_minutes": 45,
    }
    file = project.folder / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "gpu": 2, "slurm": site}))
    (project.folder / "studies" / "tiny.yaml").write_text(
        (project.folder / "studies" / "tiny.yaml").read_text().replace("gradient", "loss")
    )
    said = project.run("--dry-run").split("rule ")
    asked = {text.partition(":")[0]: text.partition("resources: ")[2].partition("\n")[0] for text in said}

    common = "slurm_account={}, slurm_partition={}, constraint=icelake|rome"
    extra = "slurm_extra=--mail-type=FAIL --exclude=node[1-4]"
    for rule in ("download", "prepare", "corrupt", "aggregate", "present_table"):
        assert f"in_turn=1, {common.format('mygroup', 'short,long')}, {extra}, runtime" in asked[rule]
    on_gpus = f"{common.format('mygroup_gpu', 'gpu')}, {extra}, gres=gpu:a100:2"
    assert f"in_turn=1, nodes=1, {on_gpus}, runtime" in asked["train"]
    assert " gpu=" not in asked["train"]
    times = {rule: re.findall(r"runtime=(\d+)", text) for rule, text in asked.items() if rule in EXPECTED}
    assert times == {rule: [minutes] for rule, minutes in EXPECTED.items()}


@pytest.mark.workflow
@pytest.mark.parametrize(("most", "asked"), [({}, 12000), ({"max_memory_mb": 9000}, 9000)])
def test_a_third_attempt_asks_for_no_more_memory_than_there_is(
    project: Project, most: dict[str, int], asked: int
) -> None:
    file = project.folder / "config.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "slurm": most}))
    said = project.run("--dry-run", "--attempt", "3", "--until", "train").split("rule train:")[1]
    assert f"mem_mb={asked}," in said


def test_groups_are_no_larger_than_the_rules_believe() -> None:
    profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text())
    assert profile["group-components"] == ["corrupt_{dataset}=10"]
    assert "JOBS_OF_A_GROUP = 10 " in Path("rules/cluster.smk").read_text()


@pytest.mark.workflow
def test_every_artefact_can_be_planned_with_the_groups(tmp_path: Path) -> None:
    """A job that lies between two of a group must be of the group too."""
    demo = new_demo(tmp_path)
    demo.run("--dry-run", "--profile", "profiles/slurm", "--config", "demo=[]")
