"""A training job: what it writes, what it never does twice, and how it goes on after a kill."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lapwing import files
from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.training import provenance
from lapwing.training.finished import FinishedRun, FinishedRuns, data_digest
from lapwing.training.provenance import Environment, git_commit
from lapwing.training.settings import TrainingSettings
from tests.training import parts
from tests.training.parts import cell_of, checkpoint_cells, train

LAP = {"form": "loss", "history_length": 3, "warmup_iters": 0, "depression_strength": 30.0}


def values(metrics: pd.DataFrame) -> np.ndarray:
    return metrics["value"].to_numpy()


def test_a_part_writes_tidy_tables_and_says_how_each_run_was_made(tmp_path):
    metrics, sources, runs = train(tmp_path, [cell_of(), cell_of(method="lap", options=LAP)])
    assert list(metrics) == ["dataset", "corruption", "method", "seed", "epoch", "split", "metric", "value"]
    per_epoch = {
        ("train", "loss"),
        ("train", "objective"),
        ("train", "top_1"),
        ("test", "loss"),
        *(("test", f"top_{k}") for k in (1, 2, 5)),
    }
    for _, rows in metrics.groupby(["method", "seed", "epoch"]):
        assert set(zip(rows["split"], rows["metric"], strict=True)) == per_epoch
    assert set(metrics["epoch"]) == {1, 2, 3, 4}
    assert len(sources) == 2 * 3 * 4 * 5
    assert sources.groupby("seed")["is_corrupt"].sum().tolist() == [16, 16, 16]
    assert sources.loc[sources["method"] == "standard", "unreliability"].isna().all()
    assert sources.loc[sources["method"] == "lap", "multiplier"].between(0, 1).all()
    assert [run["trained"] for run in runs] == ["now"] * 6
    assert {(run["backend"], run["replicas"], run["device"]) for run in runs} == {("native", 3, "cpu")}
    assert all(run["seconds"] > 0 and run["peak_memory_mb"] > 0 and run["versions"]["torch"] for run in runs)


def test_the_mean_loss_of_the_sources_agrees_with_the_training_loss(tmp_path):
    metrics, sources, _ = train(tmp_path, [cell_of(seeds=[2])])
    losses = metrics.query("split == 'train' and metric == 'loss'")["value"].to_numpy()
    means = sources.pivot_table(index="epoch", columns="source", values="mean_loss").to_numpy()
    np.testing.assert_allclose(means.mean(1), losses)


def test_a_finished_run_is_not_trained_again_however_parts_are_cut(tmp_path):
    metrics, _, _ = train(tmp_path, [cell_of(seeds=[2, 4])])
    again, _, runs = train(
        tmp_path, [cell_of(seeds=[8, 4, 2]), cell_of(method="lap", options=LAP, seeds=[2])]
    )
    assert [(run["seed"], run["trained"]) for run in runs] == [
        (8, "now"),
        (4, "found finished"),
        (2, "found finished"),
        (2, "now"),
    ]
    for seed in (2, 4):
        ours = values(again.query(f"seed == {seed} and method == 'standard'"))
        np.testing.assert_array_equal(ours, values(metrics.query(f"seed == {seed}")))


def test_another_hyperparameter_trains_anew(tmp_path):
    train(tmp_path, [cell_of(seeds=[2])])
    _, _, runs = train(tmp_path, [cell_of(seeds=[2], batch_size=8)])
    assert runs[0]["trained"] == "now"


def test_input_corruption_changes_training_and_never_the_test_rows(tmp_path):
    _, _, runs = train(tmp_path, [cell_of("added_noise", seeds=[2])])
    noisy, _, _ = train(tmp_path, [cell_of("added_noise", seeds=[2])])
    clean, _, _ = train(tmp_path, [cell_of("original", seeds=[2])])
    first = "epoch == 1 and split == 'train' and metric == 'loss'"
    assert values(noisy.query(first)) != values(clean.query(first))
    assert runs[0]["diverged"] is None


DAMAGE = {
    "truncated table": lambda run: (run / "metrics.parquet").write_bytes(
        (run / "metrics.parquet").read_bytes()[:200]
    ),
    "changed number": lambda run: (run / "run.json").write_text(
        (run / "run.json").read_text().replace("cpu", "gpu")
    ),
    "missing table": lambda run: (run / "sources.parquet").unlink(),
    "another run": lambda run: shutil.copytree(run.with_name("seed=4"), run, dirs_exist_ok=True),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_finished_run_is_set_aside_named_and_trained_again(tmp_path, caplog, damage):
    metrics, _, _ = train(tmp_path, [cell_of(seeds=[2, 4])])
    (run,) = (tmp_path / "finished").glob("*/seed=2")
    damage(run)
    again, _, runs = train(tmp_path, [cell_of(seeds=[2, 4])])
    assert [r["trained"] for r in runs] == ["now", "found finished"]
    np.testing.assert_allclose(values(again), values(metrics), rtol=1e-4)
    assert str(run) in caplog.text
    assert list(run.parent.glob("damaged-*-seed=2"))


def killed_at(folder: Path, sync: int) -> None:
    command = [sys.executable, "-m", parts.__name__, str(folder), str(sync)]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert process.returncode == -9, process.stderr.decode()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder, and what its part measured when nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(folder, checkpoint_cells())


def inputs_of(folder: Path, other: Path) -> None:
    for path in folder.glob("*.safetensors"):
        shutil.copy(path, other)


@pytest.fixture(scope="module")
def killed(tmp_path_factory, undisturbed):
    """A folder in which a process was killed while it wrote its third checkpoint, two syncs each."""
    folder = tmp_path_factory.mktemp("killed")
    inputs_of(undisturbed[0], folder)
    killed_at(folder, 5)
    return folder


@pytest.fixture
def interrupted(tmp_path, killed):
    """A copy of it."""
    return shutil.copytree(killed, tmp_path / "interrupted")


@pytest.mark.parametrize("sync", [4, 9, 30], ids=["between epochs", "in a finished run", "in the next cell"])
def test_a_run_killed_while_it_writes_gives_the_same_numbers_bit_for_bit(tmp_path, undisturbed, sync):
    folder, (metrics, sources, _) = undisturbed
    inputs_of(folder, tmp_path)
    killed_at(tmp_path, sync)
    again, sources_again, _ = train(tmp_path, checkpoint_cells())
    pd.testing.assert_frame_equal(again, metrics, check_exact=True)
    pd.testing.assert_frame_equal(sources_again, sources, check_exact=True)
    assert not list((tmp_path / "finished").glob("*/checkpoint-*"))
    assert not list((tmp_path / "finished").glob("*/part-*"))


def test_a_killed_run_goes_on_at_its_last_whole_epoch_bit_for_bit(interrupted, undisturbed):
    metrics, _, runs = train(interrupted, checkpoint_cells())
    assert [run["trained"] for run in runs] == ["resumed at epoch 2"] * 3 + ["now"] * 3
    pd.testing.assert_frame_equal(metrics, undisturbed[1][0], check_exact=True)


def test_a_part_of_the_seeds_of_a_checkpoint_goes_on_from_its_rows(interrupted, undisturbed):
    metrics = undisturbed[1][0].query("method == 'lap' and seed == 2")
    cell = {**checkpoint_cells()[0], "seeds": [8, 2]}
    again, _, runs = train(interrupted, [cell])
    assert [run["trained"] for run in runs] == ["resumed at epoch 2"] * 2
    np.testing.assert_allclose(values(again.query("seed == 2")), values(metrics), rtol=1e-4)
    _, _, runs = train(interrupted, checkpoint_cells()[:1])
    assert [run["trained"] for run in runs] == ["found finished", "resumed at epoch 2", "found finished"]
    assert not list((interrupted / "finished").glob("*/checkpoint-*"))


def test_what_an_older_checkpoint_did_not_measure_is_unknown_until_it_goes_on(interrupted, undisturbed):
    (checkpoint,) = (interrupted / "finished").glob("*/checkpoint-*")
    arrays, about = files.read_arrays(checkpoint)
    del arrays["history/train/objective"]
    files.write_arrays(checkpoint, arrays, about)
    metrics, _, runs = train(interrupted, checkpoint_cells())
    assert [run["trained"] for run in runs] == ["resumed at epoch 2"] * 3 + ["now"] * 3
    keys = ["method", "seed", "epoch", "split", "metric"]
    both = undisturbed[1][0].merge(metrics, on=keys, suffixes=("", "_again"), validate="one_to_one")
    unknown = both["value_again"].isna()
    assert set(both[unknown]["metric"]) == {"objective"}
    assert set(both[unknown]["epoch"]) == {1, 2}
    pd.testing.assert_series_equal(both[~unknown]["value"], both[~unknown]["value_again"], check_names=False)
    assert len(both) == len(metrics)


def test_a_damaged_checkpoint_is_set_aside_and_the_stack_starts_anew(interrupted, undisturbed, caplog):
    (checkpoint,) = (interrupted / "finished").glob("*/checkpoint-*")
    content = bytearray(checkpoint.read_bytes())
    content[-100] ^= 1
    checkpoint.write_bytes(content)
    again, _, runs = train(interrupted, checkpoint_cells())
    pd.testing.assert_frame_equal(again, undisturbed[1][0], check_exact=True)
    assert {run["trained"] for run in runs} == {"now"}
    assert checkpoint.name in caplog.text


def _drop_a_tensor(arrays, about):
    del arrays["state/network_0/parameter/output.weight"]


def _cut_a_tensor(arrays, about):
    arrays["state/network_0/parameter/output.weight"] = arrays["state/network_0/parameter/output.weight"][
        ..., 1:
    ]


def _forget_replicas(arrays, about):
    arrays["state/alive"] = arrays["state/alive"][:1]


def _garble_the_counters(arrays, about):
    about["counters"] = {**about["counters"], "epoch": "two"}


def _drop_the_counters(arrays, about):
    about["counters"] = None


def _drop_the_calls(arrays, about):
    about["counters"] = {**about["counters"], "calls": None}


@pytest.mark.parametrize(
    "change",
    [
        _drop_a_tensor,
        _cut_a_tensor,
        _forget_replicas,
        _garble_the_counters,
        _drop_the_counters,
        _drop_the_calls,
    ],
)
def test_a_checkpoint_that_does_not_fit_is_set_aside_and_the_stack_starts_anew(
    interrupted, undisturbed, caplog, change
):
    (checkpoint,) = (interrupted / "finished").glob("*/checkpoint-*")
    arrays, about = files.read_arrays(checkpoint)
    change(arrays, about)
    files.write_arrays(checkpoint, arrays, about)
    again, _, runs = train(interrupted, checkpoint_cells())
    pd.testing.assert_frame_equal(again, undisturbed[1][0], check_exact=True)
    assert {run["trained"] for run in runs} == {"now"}
    assert list(checkpoint.parent.glob(f"damaged-*-{checkpoint.name}"))
    assert f"{checkpoint} was set aside" in caplog.text


def test_a_checkpoint_that_another_process_removes_meanwhile_is_not_missed(interrupted, monkeypatch):
    (checkpoint,) = (interrupted / "finished").glob("*/checkpoint-*")
    store = FinishedRuns(checkpoint.parents[1], checkpoint.parent.name)
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *a: [p for p in glob(*a) if p.unlink() is None])
    assert store.checkpoints([2, 4, 8]) == []


def test_a_run_that_cannot_be_read_now_is_left_alone(tmp_path, monkeypatch):
    train(tmp_path, [cell_of(seeds=[2])])
    (run,) = (tmp_path / "finished").glob("*/seed=2")

    def refuse(*arguments, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq, "read_table", refuse)
    with pytest.raises(UserError, match="metrics.parquet cannot be read: Input/output error"):
        FinishedRuns(run.parents[1], run.parent.name).read(2)
    assert run.is_dir()
    assert not list(run.parent.glob("damaged-*"))


def test_a_run_that_was_written_meanwhile_is_kept(tmp_path):
    store = FinishedRuns(tmp_path, "key")
    table = pd.DataFrame({"value": [1.0]})
    for name in ("first", "second"):
        store.write(2, FinishedRun(table, table, {"key": "key", "seed": 2, "name": name}))
    assert store.read(2).about["name"] == "first"
    assert [path.name for path in store.folder.iterdir()] == ["seed=2"]


def test_who_waits_for_a_run_says_for_whom(tmp_path, caplog):
    caplog.set_level("INFO")
    store = FinishedRuns(tmp_path, "key")
    waiting = threading.Thread(target=lambda: store.locked([2]).__enter__(), daemon=True)
    with store.locked([2]):
        waiting.start()
        while not caplog.messages:
            waiting.join(0.01)
    waiting.join()
    assert caplog.messages == [
        f"run key seed 2: process {os.getpid()} on {socket.gethostname()} trains it, waiting"
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_runs_that_all_diverge_leave_their_rows_up_to_there_and_say_where(tmp_path, caplog):
    wild = {"name": "sgd", "learning_rate": 1e30}
    model = {"name": "mlp", "version": 1, "options": {"logits": True}}
    metrics, _, runs = train(tmp_path, [cell_of(optimiser=wild, model=model)])
    for run in runs:
        assert run["diverged"]["epoch"] == 1
        assert run["diverged"]["step"] >= 2
    assert len(metrics) == 0
    assert "seed 4 diverged in epoch 1, step" in caplog.text
    _, _, runs = train(tmp_path, [cell_of(optimiser=wild, model=model)])
    assert {run["trained"] for run in runs} == {"found finished"}


def test_convolutions_on_a_cpu_train_one_seed_after_another(tmp_path):
    cell = cell_of(model={"name": "conv3net", "version": 1, "options": {}}, epochs=1, seeds=[2, 4])
    _, _, runs = train(tmp_path, [cell])
    assert [(run["backend"], run["replicas"]) for run in runs] == [("loop", 1)] * 2


def test_progress_is_a_line_per_epoch(tmp_path, caplog):
    caplog.set_level("INFO")
    train(tmp_path, [cell_of(seeds=[2])])
    lines = [record.message for record in caplog.records if "epoch" in record.message]
    assert len(lines) == 4
    assert lines[1].startswith("digits random_label standard: epoch 2 of 4: train/loss ")


def test_a_missing_corruption_artefact_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(UserError, match="corruption .* of seed 2 is not among the files"):
        train(tmp_path, [cell_of(seeds=[2])], corrupted=[])
    assert not (tmp_path / "finished").exists()


def test_an_artefact_made_from_other_data_is_refused(tmp_path):
    train(tmp_path, [cell_of(seeds=[2])])
    arrays, about = files.read_arrays(tmp_path / "digits.safetensors")
    arrays["train/inputs"] = arrays["train/inputs"] + 1
    files.write_arrays(tmp_path / "digits.safetensors", arrays, about)
    with pytest.raises(UserError, match="was made from other data"):
        train(tmp_path, [cell_of(seeds=[2])])


@pytest.mark.parametrize("what", ["model mlp", "method lap", "engine"])
def test_settings_of_another_version_are_refused(tmp_path, what):
    """A checkout was updated after the job was planned: its numbers must not stand under the old key."""
    cell = cell_of(seeds=[2], method="lap")
    asked, _, name = what.partition(" ")
    if name:
        cell["settings"][asked]["version"] = 99
    else:
        cell["settings"][asked] = 99
    with pytest.raises(UserError, match=f"^{what}: the settings ask for version 99"):
        train(tmp_path, [cell])
    assert not list((tmp_path / "finished").rglob("*.safetensors"))


def test_options_left_out_and_spelt_out_are_the_same_run(tmp_path):
    train(tmp_path, [cell_of(method="lap", seeds=[2])])
    whole = methods.get("lap").Hyperparameters().model_dump(mode="json")
    model = {"name": "mlp", "version": 1, "options": {"logits": False}}
    _, _, runs = train(tmp_path, [cell_of(method="lap", options=whole, model=model, seeds=[2])])
    assert runs[0]["trained"] == "found finished"


@pytest.mark.parametrize("changed", [{"scale": 1 / 8}, {"classes": 11}, {"task": "regression"}])
def test_what_prepared_data_say_of_themselves_decides_which_runs_are_theirs(tmp_path, changed):
    one, other = tmp_path / "one", tmp_path / "other"
    arrays, about = files.read_arrays(parts.write_digits(tmp_path))
    files.write_arrays(one, arrays, {**about, "licence": "free"})
    assert data_digest(one) == data_digest(tmp_path / "digits.safetensors")
    files.write_arrays(other, arrays, {**about, **changed})
    assert data_digest(one) != data_digest(other)


def test_a_method_is_not_told_what_is_corrupted(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(methods.get("standard"), "setup", lambda self, training: seen.append(training))
    train(tmp_path, [cell_of(seeds=[2], epochs=1)])
    assert type(seen[0].settings) is TrainingSettings


def test_the_commit_is_that_of_a_checkout_that_tracks_the_package(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("one")
    assert git_commit(file) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "empty"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert git_commit(file) is None
    for words in (["add", "."], [*identity, "commit", "-q", "-m", "file"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = git_commit(file)
    assert len(clean) == 40
    subprocess.run(["git", *identity, "tag", "-a", "v1", "-m", "one"], cwd=tmp_path, check=True)
    assert git_commit(file) == clean
    file.write_text("two")
    assert git_commit(file) == f"{clean}-dirty"


@pytest.mark.parametrize(("said", "commit"), [("0123abc", "0123abc"), ("", None)])
def test_an_image_without_git_says_its_commit_in_the_environment(monkeypatch, said, commit):
    monkeypatch.setattr(provenance, "git_commit", lambda file: None)
    monkeypatch.setenv("LAPWING_COMMIT", said)
    assert Environment.here("cpu").git_commit == commit
