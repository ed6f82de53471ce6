"""What is to be made, as the workflow learns it from settings and studies."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lapwing.errors import UserError
from lapwing.files import write_json
from lapwing.plan import Plan, Remaining
from lapwing.training.finished import run_key
from lapwing.training.origin import origin_here
from tests.test_study import TINY

PUBLISHED = Path(__file__).parent.parent / "published"


def plan(folder: Path, **config: Any) -> Plan:
    """A plan with the tiny study and one on Fashion-MNIST."""
    studies = folder / "studies"
    studies.mkdir(exist_ok=True)
    (studies / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    other = {
        "base": "tiny",
        "artefacts": {"other": {**TINY["artefacts"]["tiny"], "studies": ["tiny"]}},
        "grid": {"dataset": ["fashion_mnist"]},
    }
    (studies / "other.yaml").write_text(yaml.safe_dump(other))
    return Plan({"scale": "paper", "studies": str(studies), **config}, folder / "raw", PUBLISHED)


def test_without_network_what_needs_it_is_left_out_with_the_one_thing_to_do(tmp_path: Path) -> None:
    offline = plan(tmp_path, data={"offline": True})
    assert offline.made == ["tiny"]
    assert "train-images-idx3-ubyte.gz" in offline.left_out["other"]


def test_with_network_everything_can_be_made(tmp_path: Path) -> None:
    assert set(plan(tmp_path).made) == {"tiny", "other"}


def test_artefact_shows_the_cells_of_further_studies(tmp_path: Path) -> None:
    cells = plan(tmp_path).cells_shown("other")
    assert [cell["dataset"] for cell in cells] == ["fashion_mnist"] * 4 + ["digits"] * 4


def test_cells_that_are_not_selected_are_shown_without_seeds(tmp_path: Path) -> None:
    cells = plan(tmp_path, only={"method": "lap", "dataset": "digits"}).cells_shown("tiny")
    assert [cell["seeds"] for cell in cells] == [[], [1, 2], [], [1, 2]]


def test_an_artefact_may_show_some_of_the_cells(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    table = {**TINY["artefacts"]["tiny"], "only": {"method": ["lap"]}}
    narrow = {"base": "tiny", "artefacts": {"narrow": table}}
    (tmp_path / "studies" / "narrow.yaml").write_text(yaml.safe_dump(narrow))
    shown = plan(tmp_path).cells_shown("narrow")
    assert [(cell["corruption"], cell["method"]) for cell in shown] == [
        ("original", "lap"),
        ("random_label", "lap"),
    ]
    table["only"] = {"method": ["lapp"]}
    (tmp_path / "studies" / "narrow.yaml").write_text(yaml.safe_dump(narrow))
    with pytest.raises(
        UserError, match=r"artefacts\.narrow: only: no cell has method lapp; did you mean lap\?"
    ):
        plan(tmp_path)


def test_at_demo_scale_all_stands_for_a_first_look(tmp_path: Path) -> None:
    assert plan(tmp_path, scale="demo", demo=["tiny"]).made == ["tiny"]
    assert set(plan(tmp_path, scale="demo", demo=[]).made) == {"tiny", "other"}
    assert set(plan(tmp_path, scale="paper", demo=["tiny"]).made) == {"tiny", "other"}
    assert set(plan(tmp_path, scale="demo", demo=["tiny"]).artefacts) == {"tiny", "other"}  # by name: all
    told = r"config: demo \(\[\] stands for every artefact\): unknown artefact tinny; did you mean tiny\?"
    with pytest.raises(UserError, match=told):
        plan(tmp_path, scale="demo", demo=["tinny"])
    assert set(plan(tmp_path, scale="paper", demo=["tinny"]).made) == {"tiny", "other"}  # of another folder


def test_artefact_without_a_selected_cell_is_left_out(tmp_path: Path) -> None:
    selected = plan(tmp_path, only={"dataset": "fashion_mnist"})
    assert selected.made == ["other"]
    assert "only" in selected.left_out["tiny"]


def test_published_values_that_are_not_there_are_told(tmp_path: Path) -> None:
    artefact = {**TINY["artefacts"]["tiny"], "published": {"study": "sinthetic", "table": "Table 1"}}
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "wrong.yaml").write_text(
        yaml.safe_dump({**TINY, "artefacts": {"wrong": artefact}})
    )
    with pytest.raises(UserError, match=r"no published values called sinthetic; did you mean synthetic\?"):
        plan(tmp_path)


def test_part_is_estimated_by_its_runs(tmp_path: Path) -> None:
    assert plan(tmp_path).minutes_of("tiny", "digits-original") == pytest.approx(4 * 1.0)


def test_artefacts_that_take_no_part_at_scale_subset_are_known(tmp_path: Path) -> None:
    assert plan(tmp_path, scale="subset").only_elsewhere == {"tiny", "other"}
    assert plan(tmp_path, scale="demo").only_elsewhere == set()


def test_only_datasets_of_the_scale_are_said_to_stand_in_for_others(tmp_path: Path) -> None:
    made = plan(tmp_path)
    whole = made.artefacts["tiny"].model_copy(update={"stand_in": {"digits": "mnist", "diabetes": "imdb"}})
    made.artefacts["tiny"] = whole
    assert made.described("tiny").stand_in == {"digits": "mnist"}


def test_estimate_is_that_of_a_gpu_where_one_is_granted(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    estimates = {"conditions": {"minutes_per_run": 60.0, "minutes_on_gpu": 1.0}}
    large = {"base": "tiny", "artefacts": {"large": TINY["artefacts"]["tiny"]}, **estimates}
    (tmp_path / "studies" / "large.yaml").write_text(yaml.safe_dump(large))
    slow, fast = (plan(tmp_path, gpu=gpu).remaining(["large"], tmp_path) for gpu in (0, 1))
    assert slow.hours == pytest.approx(60 * fast.hours)
    assert "on one core" in str(slow)
    assert "on a GPU" in str(fast)


def test_what_remains_is_counted_and_estimated(tmp_path: Path) -> None:
    remaining = plan(tmp_path).remaining(["tiny", "other"], tmp_path)
    assert (remaining.runs, remaining.parts) == (16, 4)
    assert remaining.hours == pytest.approx(16 / 60)
    assert remaining.gigabytes == pytest.approx(0.0309, abs=1e-4)
    assert str(remaining).startswith("to be trained: 16 runs in 4 training jobs, about 16.0 min on one")


@pytest.mark.parametrize(
    ("gigabytes", "said"),
    [(6.34, ": 6.3 GB."), (0.0309, "; to be downloaded: 31 MB."), (1e-5, "1 MB."), (0.0, " on one core.")],
)
def test_how_much_is_to_be_downloaded_is_said_in_a_unit_of_its_size(gigabytes: float, said: str) -> None:
    assert str(Remaining(16, 4, 2.0, gigabytes)).endswith(said)


@pytest.mark.parametrize(("hours", "said"), [(2.04, "2.0 h"), (26.4, "26 h"), (26785.2, "1116 days")])
def test_what_remains_is_said_as_exactly_as_it_is_known(hours: float, said: str) -> None:
    sentence = f"to be trained: 1 run in 1 training job, about {said} on one core."
    assert str(Remaining(1, 1, hours, 0.0)) == sentence


def test_finished_runs_do_not_remain_and_their_time_is_the_estimate(tmp_path: Path) -> None:
    made = plan(tmp_path, finished_runs=str(tmp_path / "finished"))
    cell = made.selected["tiny"][0]
    about = {"seed": 1, "seconds": 7200.0}
    write_json(tmp_path / "finished" / run_key(cell.settings, "") / "seed=1" / "run.json", about)
    remaining = made.remaining(["tiny"], tmp_path)
    assert remaining.runs == 7
    assert remaining.hours == pytest.approx(2 + 6 / 60)


def test_runs_from_elsewhere_remain_where_the_settings_say_that_they_do_not_count(tmp_path: Path) -> None:
    here = origin_here("auto")
    origins = [{"machine": "Another processor", "lock": here.lock}]
    settings = {"finished_runs": str(tmp_path / "finished")}
    [cell, *_] = plan(tmp_path).selected["tiny"]
    about = {"seed": 1, "seconds": 60.0, "origins": origins}
    write_json(tmp_path / "finished" / run_key(cell.settings, "") / "seed=1" / "run.json", about)

    def remaining(**cache: bool) -> int:
        return plan(tmp_path, **settings, cache=cache).remaining(["tiny"], tmp_path).runs

    assert remaining() == remaining(other_lock=False) == 7
    assert remaining(other_machine=False) == 8
    assert plan(tmp_path).origin == {}
    assert plan(tmp_path, cache={"other_lock": False}).origin == {"lock": here.lock}


def test_a_method_that_cannot_use_several_gpus_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    plan(tmp_path, gpu=1).check_gpus(["tiny"])
    plan(tmp_path, gpu=2).check_gpus([])
    plan(tmp_path, gpu=2, only={"method": "standard"}).check_gpus(["tiny"])
    with pytest.raises(UserError, match="tiny: method lap cannot train one run on 2 GPUs"):
        plan(tmp_path, gpu=2).check_gpus(["tiny"])


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"scal": "demo"}, "config: unknown key scal; did you mean scale?"),
        ({"scale": "papr"}, "config: scale: must be 'demo', 'subset' or 'paper' (it is 'papr')."),
        ({"data": {"mirorr": "x"}}, "config: unknown key data.mirorr; did you mean mirror?"),
        ({"data": {"mirror": "nowhere"}}, "config: data.mirror: There is no folder nowhere"),
        ({"data": {"accept": ["digit"]}}, "unknown dataset digit; did you mean digits?"),
        ({"cache": {"other_lok": True}}, "config: unknown key cache.other_lok; did you mean other_lock?"),
        ({"memory_mb": 1}, "config: memory_mb: must be greater than or equal to 500 (it is 1)."),
        ({"only": [1]}, "config: only.0: must be keys with values (it is 1)."),
    ],
)
def test_mistake_in_the_settings_is_one_sentence(
    tmp_path: Path, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as told:
        plan(tmp_path, **config)
    assert sentence in str(told.value)


def test_reading_a_plan_imports_no_torch(tmp_path: Path) -> None:
    """Snakemake reads it at every start."""
    import subprocess
    import sys

    plan(tmp_path)
    code = (
        "import sys; from pathlib import Path; from lapwing.plan import Plan;"
        f"Plan({{'studies': {str(tmp_path / 'studies')!r}}}, Path('raw'), Path('published'));"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
