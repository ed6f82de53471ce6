"""Two processes on a CPU that train one run: what they hold, and what a job of them does when one fails."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.models import models
from lapwing.training.data import TestData, TrainingData
from lapwing.training.distributed import ALONE, Processes, run_together
from lapwing.training.engine import Training
from lapwing.training.layers import Dropout
from tests.training.conftest import digits_rows, norm_network, replica, run, settings_of
from tests.training.failing import fail_beside_a_waiting_process, fail_beside_an_aborted_process
from tests.training.parts import cell_of, train

ROOT = Path(__file__).parents[2]

LAP = {"history_length": 3, "warmup_iters": 2, "depression_strength": 30.0}
SEEDS = [3, 14]


def dropout_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Dropout(0.25), nn.Flatten(), nn.Linear(144, 10))


def residual_network() -> nn.Module:
    model = models.get("resnet")
    return model.build(model.Options(depth=18, width=4, stem="small"), (1, 8, 8), 10)


CASES = {
    "standard": ("standard", {}, {}),
    "a last batch of one sample": ("lap", LAP, {"batch_size": 47}),
    "LAP in blocks": ("lap", LAP, {"layout": "blocks"}),
    "label smoothing with momentum": ("nls", {}, {"optimiser": {"name": "sgd", "momentum": 0.9}}),
    "CDR, shards of unequal size": ("cdr", {}, {"batch_size": 51}),
    "batch norm": ("lap", LAP, {}),
    "batch norm under vmap, a last batch of one sample": ("lap", LAP, {"batch_size": 47}),
    "CDR with batch norm, shards of unequal size": ("cdr", {}, {"batch_size": 51}),
    "ResNet-18": ("lap", LAP, {}),
}
NETWORKS = {case: norm_network for case in CASES if "batch norm" in case} | {"ResNet-18": residual_network}
TOLERANCE = {"ResNet-18": 1e-9}


def training_of(case: str, processes: Processes = ALONE) -> tuple[Training, TestData]:
    method, options, changes = CASES[case]
    settings, kind, rows = settings_of(method, options, **changes), methods.get(method), digits_rows()
    replicas = [replica(seed) for seed in SEEDS]
    data = TrainingData(rows, replicas, layout=settings.layout, dtype=torch.float64)
    test = TestData(digits_rows(), [load_digits().target], dtype=torch.float64)
    training = Training(
        settings,
        kind(kind.Hyperparameters.model_validate(options)),
        NETWORKS.get(case, dropout_network),
        SEEDS,
        data,
        classes=10,
        backend="vmap" if "vmap" in case else "loop",
        groups={"ones": [1]},
        processes=processes,
    )
    return training, test


def train_every_case(processes: Processes, folder: Path) -> None:
    """What each of two processes does: it leaves what it holds and measured."""
    torch.set_num_threads(1)
    for case in CASES:
        training, test = training_of(case, processes)
        measured = run(training, test)
        torch.save({"state": training.state(), "measured": measured}, folder / f"{case}-{processes.rank}.pt")


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """By case, what each of the two processes left."""
    folder = tmp_path_factory.mktemp("together")
    run_together(train_every_case, 2, folder)
    return {case: [torch.load(folder / f"{case}-{rank}.pt") for rank in (0, 1)] for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_hold_and_measure_what_one_does_with_the_whole_batch(left, case):
    exact = {"rtol": 0, "atol": TOLERANCE.get(case, 1e-10)}
    training, test = training_of(case)
    measured, state = run(training, test), training.state()
    for process in left[case]:
        assert process["state"].keys() == state.keys()
        for name, tensor in state.items():
            torch.testing.assert_close(process["state"][name], tensor, **exact, msg=name)
        for ours, theirs in zip(process["measured"], measured, strict=True):
            assert ours.keys() == theirs.keys()
            for name, values in theirs.items():
                torch.testing.assert_close(ours[name], values, **exact, msg=name)


def test_a_bad_source_fades_in_both_processes_alike(left):
    first, second = (process["measured"][-1] for process in left["LAP in blocks"])
    assert float(first["source/multiplier"].min()) < 0.5
    assert torch.equal(first["source/multiplier"], second["source/multiplier"])


@pytest.mark.parametrize("case", CASES)
def test_both_processes_hold_the_same_bit_for_bit(left, case):
    first, second = (process["state"] for process in left[case])
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name


@given(st.integers(1, 9), st.integers(1, 40))
def test_shards_are_disjoint_and_make_up_the_batch(number, size):
    shards = [Processes(rank, number).shard(size) for rank in range(number)]
    if size < number:
        assert all(shard.is_whole for shard in shards)
    else:
        taken = [sample for shard in shards for sample in range(shard.start, shard.start + shard.own)]
        assert taken == list(range(size))
        assert max(shard.own for shard in shards) - min(shard.own for shard in shards) <= 1


# -- a job ------------------------------------------------------------------------------------------


def cells(epochs: int) -> list[dict]:
    changes = {"layout": "mixed", "precision": "float64", "batch_size": 24, "epochs": epochs, "seeds": (2, 4)}
    return [cell_of(method="lap", options={"form": "loss", **LAP}, **changes)]


def kill_one_when(folder: Path, pattern: str) -> threading.Thread:
    """Kill a process of ours as soon as there is such a file."""

    def kill() -> None:
        end = time.monotonic() + 600
        while not list(folder.glob(pattern)):
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_a_killed_process_ends_the_job_in_a_sentence_and_it_goes_on_with_the_same_numbers(tmp_path):
    epochs = 30
    killer = kill_one_when(tmp_path, "finished/*/checkpoint-*.safetensors")
    with pytest.raises(UserError, match=r"process [12] of the 2 of this training job was ended by SIGKILL"):
        train(tmp_path, cells(epochs), device="cpu", processes=2)
    killer.join()
    metrics, sources, runs = train(tmp_path, cells(epochs), device="cpu", processes=2)
    assert all(made["trained"].startswith("resumed") for made in runs)
    assert {(made["processes"], made["device"], made["settings"]["precision"]) for made in runs} == {
        (2, "2 x cpu", "float64")
    }
    alone, sources_alone, runs = train(tmp_path, cells(epochs), finished="alone", device="cpu")
    assert {(made["processes"], made["device"]) for made in runs} == {(1, "cpu")}
    pd.testing.assert_frame_equal(metrics, alone, rtol=0, atol=1e-10)
    pd.testing.assert_frame_equal(sources, sources_alone, rtol=0, atol=1e-10)
    assert np.isfinite(metrics["value"]).all()


def test_stacks_and_cells_follow_one_another_in_all_processes(tmp_path):
    """Seeds of convolutions do not stack on a CPU, so each of them is a start of its own."""
    network = {"name": "conv3net", "version": 1, "options": {"channels": (4, 4)}}
    conditions = {"model": network, "layout": "mixed", "epochs": 2, "precision": "float64"}
    both = [cell_of(method=method, seeds=(2, 4), **conditions) for method in ("standard", "nls")]
    together, _, runs = train(tmp_path, both, device="cpu", processes=2)
    assert [made["replicas"] for made in runs] == [1] * 4
    alone, _, _ = train(tmp_path, both, finished="alone", device="cpu")
    pd.testing.assert_frame_equal(together, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("data.txt is damaged."), r"^data\.txt is damaged\.$"),
        (ValueError("no such thing"), r"^process 2 of the 2 .* failed: ValueError: no such thing\.$"),
    ],
    ids=["a mistake of the user", "any other"],
)
@pytest.mark.parametrize("work", [fail_beside_a_waiting_process, fail_beside_an_aborted_process])
def test_a_failing_process_ends_the_others_in_a_sentence(work, error, sentence):
    with pytest.raises(UserError, match=sentence):
        run_together(work, 2, error)


def test_what_a_gpu_failed_of_reaches_the_user_as_a_sentence():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
    sentence = (
        r"^process 2 of the 2 .* failed: the GPU's memory is used up \(CUDA out of memory\. Tried to "
        r"allocate 2 GiB\); use a GPU that is free, or a smaller batch\.$"
    )
    with pytest.raises(UserError, match=sentence):
        run_together(fail_beside_a_waiting_process, 2, error)


@pytest.mark.parametrize(
    ("method", "options"),
    [("coteaching", {}), ("idpa", {}), ("arfl", {}), ("lap", {"form": "gradient"})],
    ids=["coteaching", "idpa", "arfl", "lap in its gradient form"],
)
def test_a_method_that_needs_the_whole_batch_is_refused_before_anything_starts(tmp_path, method, options):
    with pytest.raises(UserError, match=rf"{method}: method {method} cannot train one run on 2 GPUs"):
        train(tmp_path, [cell_of(method=method, options=options)], device="cpu", processes=2)
    assert not (tmp_path / "finished").exists()


class AskedToEnd(BaseException):
    """What a signal makes of a job."""


def test_a_job_that_is_asked_to_end_ends_its_processes(tmp_path):
    def stop(number: int, frame: object) -> None:
        raise AskedToEnd

    def ask() -> None:
        while not list(tmp_path.glob("finished/*/checkpoint-*.safetensors")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with pytest.raises(AskedToEnd):
            train(tmp_path, cells(3000), device="cpu", processes=2)
    finally:
        signal.signal(signal.SIGUSR1, before)
        asking.join()
    assert not multiprocessing.active_children()


TWO = """
import sys
from pathlib import Path
from lapwing.job_log import logged
from tests.training.parts import cell_of, train

if __name__ == "__main__":
    with logged(sys.argv[1] + "/job.log"):
        train(Path(sys.argv[1]), [cell_of(seeds=[2], epochs=100000)], device="cpu", processes=2)
"""


def children_of(process: int) -> set[int]:
    """The processes that it started and that are there."""
    return {int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()}


class AskingWhenSent:
    """An argument; that it is sent to the second process is when the job is asked to end."""

    sent = 0

    def __reduce__(self):
        self.sent += 1
        if self.sent == 2:
            raise AskedToEnd
        return AskingWhenSent, ()


def test_a_job_that_is_asked_to_end_while_it_starts_its_processes_ends_those(tmp_path):
    with pytest.raises(AskedToEnd):
        run_together(train_every_case, 2, AskingWhenSent())
    assert not multiprocessing.active_children()


def test_a_job_that_is_asked_to_end_twice_ends_its_processes(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, tmp_path]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 600
        while not list(tmp_path.glob("finished/*/checkpoint-*")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        children = children_of(process.pid)
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        screen = process.communicate()[1].decode()
    assert len(children) > 2  # one keeps count for multiprocessing
    assert (process.returncode, screen.count("\n")) == (128 + signal.SIGTERM, 1), screen
    end = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.01)


# -- devices ----------------------------------------------------------------------------------------


def test_more_gpus_than_there_are_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"this job needs 99 GPUs \(config: gpu, device\), and sees \d on "):
        train(tmp_path, cells(1), processes=99)
    assert not (tmp_path / "finished").exists()


@pytest.mark.parametrize(
    ("cuda", "visible", "why"),
    [
        ("13.0", "", r"CUDA_VISIBLE_DEVICES is ''"),
        ("13.0", None, "see nvidia-smi there, and what the cluster granted"),
        (None, None, r"its PyTorch \S+ is made for CPUs"),
    ],
    ids=["hidden", "broken", "PyTorch for CPUs"],
)
def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_an_error(tmp_path, monkeypatch, cuda, visible, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # the driver lists a GPU that is broken, too
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(
        UserError, match=rf"^this job needs 1 GPU \(.*\), and sees 0 on \S+: {why}; let it see"
    ):
        train(tmp_path, cells(1), device="cuda")
    assert not (tmp_path / "finished").exists()


def test_what_a_job_trains_on_where_nothing_is_asked_for_is_in_its_log(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    caplog.set_level("INFO")
    train(tmp_path, cells(1))
    assert "trains on cpu" in caplog.messages
