"""What a site says in `config.yaml: slurm`, and what jobs ask for then."""

import re

import pytest
import yaml
from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

from lapwing.errors import UserError
from lapwing.schema import validate
from lapwing.settings import Settings
from tests.workflow.conftest import Project


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


@pytest.mark.parametrize("option", ["--mail-type=FAIL", "--exclusive", "--time-min=10", "--gpus-per-node=1"])
def test_other_options_are_accepted(option: str) -> None:
    assert validate(Settings, {"slurm": {"extra": [option]}}, "config").slurm.extra == [option]


def test_a_misspelt_key_is_named_with_the_right_one() -> None:
    with pytest.raises(UserError, match="unknown key slurm.gpu_partion; did you mean gpu_partition?"):
        validate(Settings, {"slurm": {"gpu_partion": "gpu"}}, "config")


@pytest.mark.workflow
def test_jobs_ask_for_what_the_site_says(project: Project) -> None:
    site = {
        "account": "mygroup",
        "partition": "short,long",
        "constraint": "icelake|rome",
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

    common = "slurm_account=mygroup, slurm_partition={}, constraint=icelake|rome"
    extra = "slurm_extra=--mail-type=FAIL --exclude=node[1-4]"
    for rule in ("download", "prepare", "corrupt", "aggregate", "present_table"):
        assert f"in_turn=1, {common.format('short,long')}, {extra}, runtime" in asked[rule]
    assert f"in_turn=1, nodes=1, {common.format('gpu')}, {extra}, gres=gpu:a100:2, runtime" in asked["train"]
    assert " gpu=" not in asked["train"]
    times = {rule: re.findall(r"runtime=(\d+)", asked[rule]) for rule in ("prepare", "aggregate", "corrupt")}
    assert times == {"prepare": ["45"], "aggregate": ["30"], "corrupt": ["10"]}
