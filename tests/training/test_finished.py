"""Finished runs and checkpoints that were made elsewhere: which count, and what becomes of the others."""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lapwing import files
from lapwing.errors import UserError
from lapwing.training.finished import FinishedRun, FinishedRuns, recorded_seconds
from lapwing.training.origin import (
    Cache,
    Counting,
    Origin,
    lock_of,
    lock_of_image,
    machine_of,
    origin_here,
    processor,
)
from tests.training.parts import cell_of, train

HERE = Origin("Processor 1", "python 3.11, torch 2.6.0, numpy 2.1.0")
THERE = {
    "machine": replace(HERE, machine="Processor 2"),
    "lock": replace(HERE, lock="python 3.12, torch 2.6.0, numpy 2.1.0"),
}
TABLE = pd.DataFrame({"value": [1.0]})


def store(folder: Path, here: Origin = HERE, **cache: bool) -> FinishedRuns:
    return FinishedRuns(folder, "key", Counting(here, Cache(**cache)))


def run_of(origins: list[Origin], seed: int = 2) -> FinishedRun:
    said = [{"machine": origin.machine, "lock": origin.lock} for origin in origins]
    return FinishedRun(TABLE, TABLE, {"key": "key", "seed": seed, "seconds": 3.0, "origins": said})


def checkpoint(runs: FinishedRuns, origin: Origin, epoch: int) -> None:
    about = {"counters": {"epoch": epoch}, "origins": run_of([origin]).about["origins"]}
    runs.save([2, 4], {"x": TABLE.to_numpy()}, about)


def elsewhere(folder: Path, **changes: str) -> None:
    """Have every finished run say that it was made elsewhere."""
    for path in folder.glob("finished/*/seed=*/run.json"):
        about = files.read_json(path)
        about["origins"] = [{**origin, **changes} for origin in about["origins"]]
        files.write_json(path, about, {"key": about["key"], "seed": about["seed"]})


# -- which count -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", THERE)
def test_a_run_from_elsewhere_counts_unless_the_settings_say_otherwise(tmp_path, what):
    store(tmp_path, THERE[what]).write(2, run_of([THERE[what]]))
    other = next(name for name in THERE if name != what)
    assert store(tmp_path).read(2) is not None
    assert store(tmp_path, **{f"other_{other}": False}).read(2) is not None
    assert store(tmp_path, **{f"other_{what}": False}).read(2) is None
    strict = Counting(HERE, Cache(**{f"other_{what}": False}))
    assert recorded_seconds(tmp_path, "key", strict) == {}
    assert recorded_seconds(tmp_path, "key", Counting(HERE)) == {2: 3.0}


def test_a_run_that_was_begun_elsewhere_is_from_there_too(tmp_path):
    store(tmp_path).write(2, run_of([THERE["machine"], HERE]))
    assert store(tmp_path).read(2) is not None
    assert store(tmp_path, other_machine=False).read(2) is None


def test_what_an_older_run_did_not_record_counts_as_other(tmp_path):
    about = run_of([]).about | {"versions": {"python": "3.11.9", "torch": "2.6.0+cu124", "numpy": "2.1.0"}}
    del about["origins"]
    store(tmp_path).write(2, FinishedRun(TABLE, TABLE, about))
    assert store(tmp_path, other_lock=False).read(2) is not None
    assert store(tmp_path, other_machine=False).read(2) is None
    assert Counting(HERE).elsewhere(about) == "on an unrecorded machine"


def test_two_machines_that_take_nothing_from_each_other_keep_a_run_each(tmp_path):
    """In one folder, in turn, and none is trained twice."""
    places = [store(tmp_path, here, other_machine=False) for here in (HERE, THERE["machine"])]
    for place in places:
        assert place.read(2) is None
        place.write(2, run_of([place.counting.here]))
    for place in places:
        assert place.read(2).about["origins"][0]["machine"] == place.counting.here.machine
    names = {path.name for path in places[0].folder.iterdir()}
    assert names == {"seed=2", f"seed=2-{THERE['machine'].tag}"}


def test_a_run_from_here_stands_before_one_from_elsewhere(tmp_path):
    there = THERE["machine"]
    store(tmp_path, there, other_machine=False).write(2, run_of([there]))
    store(tmp_path, HERE, other_machine=False).write(2, run_of([HERE]))
    assert store(tmp_path, HERE).read(2).about["origins"][0]["machine"] == "Processor 1"
    assert store(tmp_path, there).read(2).about["origins"][0]["machine"] == "Processor 2"


def test_a_checkpoint_from_elsewhere_that_does_not_count_is_neither_used_nor_lost(tmp_path):
    ours, theirs = (store(tmp_path, here, other_machine=False) for here in (HERE, THERE["machine"]))
    checkpoint(theirs, THERE["machine"], epoch=7)
    assert ours.checkpoints([2, 4]) == []
    checkpoint(ours, HERE, epoch=3)
    assert [c.about["counters"]["epoch"] for c, _ in ours.checkpoints([2, 4])] == [3]
    assert [c.about["counters"]["epoch"] for c, _ in theirs.checkpoints([2, 4])] == [7]
    for seed in (2, 4):
        ours.write(seed, run_of([HERE], seed))
    ours.forget_checkpoints()
    assert ours.checkpoints([2, 4]) == []
    assert [c.about["counters"]["epoch"] for c, _ in theirs.checkpoints([2, 4])] == [7]


def test_a_checkpoint_of_a_place_that_takes_less_for_finished_is_left_to_it(tmp_path):
    """A run from elsewhere is enough for one place, and not for the other, whose own training goes on."""
    strict, lenient = store(tmp_path, other_machine=False), store(tmp_path)
    checkpoint(strict, HERE, epoch=3)
    for seed in (2, 4):
        lenient.write(seed, run_of([THERE["machine"]], seed))
    lenient.forget_checkpoints()
    assert [c.about["counters"]["epoch"] for c, _ in strict.checkpoints([2, 4])] == [3]


def test_a_run_is_kept_beside_any_number_that_do_not_count(tmp_path):
    """One was begun here and went on elsewhere before: it has the name that this place would give."""
    strict = store(tmp_path, other_machine=False, other_lock=False)
    for number in range(3):
        path = strict.folder / ["seed=2", f"seed=2-{HERE.tag}", f"seed=2-{HERE.tag}-2"][number]
        files.write_json(path / "run.json", run_of([THERE["machine"], HERE]).about, {})
        for name in ("metrics", "sources"):
            files.write_table(path / f"{name}.parquet", TABLE, {"key": "key", "seed": 2})
    assert strict.read(2) is None
    strict.write(2, run_of([HERE]))
    assert strict.read(2).about["origins"] == run_of([HERE]).about["origins"]
    assert store(tmp_path).read(2) is not None


def test_a_checkpoint_that_counts_goes_on_from_the_furthest(tmp_path):
    checkpoint(store(tmp_path, THERE["machine"], other_machine=False), THERE["machine"], epoch=7)
    checkpoint(store(tmp_path), HERE, epoch=3)
    [(found, seeds)] = store(tmp_path).checkpoints([2, 4])
    assert (found.about["counters"]["epoch"], seeds) == (7, [2, 4])


# -- in a job --------------------------------------------------------------------------------------


def test_a_job_says_what_it_took_over_and_trains_again_what_does_not_count(tmp_path):
    train(tmp_path, [cell_of(seeds=[2])])
    elsewhere(tmp_path, machine="Processor 2", lock="python 2.7.18, torch 2.6.0, numpy 2.1.0")
    metrics, _, [run] = train(tmp_path, [cell_of(seeds=[2])])
    assert (run["trained"], run["elsewhere"]) == ("found finished", "on another machine with other versions")
    for _ in range(2):
        again, _, [run] = train(tmp_path, [cell_of(seeds=[2])], cache={"other_machine": False})
        assert run["origins"][0]["machine"] == processor()
        pd.testing.assert_frame_equal(again, metrics, check_exact=True)
    assert (run["trained"], run["elsewhere"]) == ("found finished", None)


def test_a_job_says_that_it_took_over_what_may_vary(tmp_path, caplog):
    caplog.set_level("INFO")
    words = "seeds [2] were finished without deterministic: true"
    train(tmp_path, [cell_of(seeds=[2], epochs=1)])
    train(tmp_path, [cell_of(seeds=[2, 4], epochs=1)])
    assert words not in caplog.text
    train(tmp_path, [cell_of(seeds=[2], epochs=1)], device="cpu", deterministic=True)
    assert words in caplog.text


def end_after_two_epochs(folder: Path, monkeypatch: pytest.MonkeyPatch, seeds=(2,), out="out") -> None:
    save = FinishedRuns.save

    def end_after_two(self, seeds, arrays, about):
        save(self, seeds, arrays, about)
        if about["counters"]["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FinishedRuns, "save", end_after_two)
        with pytest.raises(KeyboardInterrupt):
            train(folder, [cell_of(seeds=seeds)], out=out)


def begun(folder: Path, monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """A job that ended after its second epoch, on another machine as its checkpoint says."""
    end_after_two_epochs(folder, monkeypatch)
    [path] = folder.glob("finished/*/checkpoint-*")
    arrays, about = files.read_arrays(path)
    origins = [{**origin, "machine": machine} for origin in about["origins"]]
    files.write_arrays(path, arrays, {**about, "origins": origins})


def test_a_run_that_goes_on_elsewhere_says_where_it_was(tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch, "Processor 2")
    _, _, [run] = train(tmp_path, [cell_of(seeds=[2])])
    assert run["trained"] == "resumed at epoch 2"
    assert [origin["machine"] for origin in run["origins"]] == ["Processor 2", processor()]


def test_a_run_does_not_go_on_from_elsewhere_where_that_does_not_count(tmp_path, monkeypatch):
    begun(tmp_path, monkeypatch, "Processor 2")
    _, _, [run] = train(tmp_path, [cell_of(seeds=[2])], cache={"other_machine": False})
    assert run["trained"] == "now"
    assert [origin["machine"] for origin in run["origins"]] == [processor()]


# -- here ------------------------------------------------------------------------------------------


def test_the_machine_is_that_of_what_computes():
    assert machine_of([]) == processor() != ""
    assert machine_of(["A100", "H100", "A100"]) == "A100, H100"


def test_for_what_pytorch_was_built_is_in_no_lock():
    versions = {"python": "3.11.9", "torch": "2.6.0+cu124", "numpy": "2.1.0", "lapwing": "1"}
    assert lock_of(versions) == "python 3.11, torch 2.6.0, numpy 2.1.0"


def test_the_plan_and_the_jobs_see_the_same_place(tmp_path):
    """The plan does not wait for PyTorch; a job asks it."""
    _, _, [run] = train(tmp_path, [cell_of(seeds=[2], epochs=1)], device="cpu")
    here = origin_here("cpu")
    assert run["origins"] == [{"machine": here.machine, "lock": here.lock}]


def test_the_lock_of_a_container_is_what_its_image_says(tmp_path, monkeypatch):
    image, program = tmp_path / "train.sif", tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    labels = {"data": {"attributes": {"labels": {"lapwing.lock": "sha256:1"}}}}
    program.write_text(f"#!/bin/sh\n[ \"$1 $4\" = 'inspect {image}' ] && echo '{json.dumps(labels)}'\n")
    program.chmod(0o755)
    assert lock_of_image(image) is None
    image.touch()
    assert lock_of_image(image) == "sha256:1"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert lock_of_image(image) is None


# -- without locks ---------------------------------------------------------------------------------


def without_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks_is_said_and_the_run_trained(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with store(tmp_path).locked([2]):
        store(tmp_path).write(2, run_of([HERE]))
    assert "the file system knows no locks" in caplog.text


def test_only_who_has_the_lock_takes_for_a_leftover_what_another_may_be_writing(tmp_path, monkeypatch):
    locking, plain = store(tmp_path), store(tmp_path)
    other = plain.folder / "part-01234567-seed=2" / "metrics.parquet"
    files.write_table(other, TABLE, {})
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", without_locks)
        with plain.locked([2]):
            plain.write(2, run_of([HERE]))
    assert other.is_file()
    with locking.locked([2]):
        locking.write(2, run_of([HERE]))
    assert not other.parent.exists()


def test_half_a_run_never_takes_the_place_of_a_whole_one(tmp_path, monkeypatch):
    """Another took what we write for a leftover."""
    write_json = files.write_json

    def remove_another(path, *arguments):
        write_json(path, *arguments)
        (path.parent / "metrics.parquet").unlink()

    monkeypatch.setattr(files, "write_json", remove_another)
    with pytest.raises(UserError, match="was removed while it was written; start again"):
        store(tmp_path).write(2, run_of([HERE]))
    assert store(tmp_path).read(2) is None


def test_other_trouble_with_a_lock_is_not_hidden(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises((OSError, UserError)), store(tmp_path).locked([2]):
        pass


# -- several users ---------------------------------------------------------------------------------

GROUP = 54321
FIRST, SECOND = 54322, 54323


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that other users reach, unlike pytest's own, with all that a training reads."""
    if os.geteuid() != 0:
        pytest.skip("only root can try what two users do")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder, [cell_of(seeds=[2, 4])], finished="warm", out="warm")  # all modules are imported here
        folder.chmod(0o755)
        for user in (FIRST, SECOND):
            (folder / str(user)).mkdir()
            os.chown(folder / str(user), user, GROUP)
        yield folder


def folder_of(everybodys: Path, mode: int) -> Path:
    finished = everybodys / "finished"
    finished.mkdir()
    os.chown(finished, FIRST, GROUP)
    finished.chmod(mode)
    return finished


@contextlib.contextmanager
def as_user(user: int, group: int = GROUP, umask: int = 0o022) -> Iterator[None]:
    """Be somebody else, with a primary group of their own as on many systems, and GROUP besides."""
    before = os.umask(umask), os.getgroups()
    os.setgroups([group])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before[1])
        os.umask(before[0])


def trained_by(user: int, everybodys: Path, **options: int) -> list[dict]:
    with as_user(user, **options):
        return train(everybodys, [cell_of(seeds=[2, 4])], out=str(user))[2]


@pytest.mark.may_be_left_out
def test_another_user_takes_over_what_is_finished_in_a_folder_that_only_its_owner_writes_to(everybodys):
    folder_of(everybodys, 0o755)
    trained_by(FIRST, everybodys)
    runs = trained_by(SECOND, everybodys)
    assert [run["trained"] for run in runs] == ["found finished"] * 2


@pytest.mark.may_be_left_out
def test_another_user_who_must_train_there_is_told_what_is_missing(everybodys):
    finished = folder_of(everybodys, 0o755)
    trained_by(FIRST, everybodys)
    [run] = finished.glob("*/seed=4")
    (run / "run.json").unlink()
    with pytest.raises(UserError, match=f"Permission denied; if several users share {finished}, it must be"):
        trained_by(SECOND, everybodys)
    assert run.is_dir()


@pytest.mark.may_be_left_out
def test_another_user_who_may_not_even_read_is_told_what_is_missing(everybodys):
    finished = folder_of(everybodys, 0o755)
    trained_by(FIRST, everybodys, umask=0o077)
    with pytest.raises(UserError, match=f"Permission denied; if several users share {finished}, it must be"):
        trained_by(SECOND, everybodys)


@pytest.mark.may_be_left_out
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_users_of_a_group_go_on_where_the_other_ended(everybodys, monkeypatch, umask):
    finished = folder_of(everybodys, 0o2775)
    with as_user(FIRST, umask=umask):
        end_after_two_epochs(everybodys, monkeypatch, out=str(FIRST), seeds=[2, 4])
    [key] = finished.iterdir()
    runs = trained_by(SECOND, everybodys, umask=umask)
    assert [run["trained"] for run in runs] == ["resumed at epoch 2"] * 2
    assert {path.name for path in key.iterdir()} == {"lock-seed=2", "lock-seed=4", "seed=2", "seed=4"}
    runs = trained_by(FIRST, everybodys, umask=umask)
    assert [run["trained"] for run in runs] == ["found finished"] * 2


@pytest.mark.may_be_left_out
def test_what_a_group_does_not_share_is_made_as_the_umask_says(everybodys):
    finished = folder_of(everybodys, 0o755)
    trained_by(FIRST, everybodys)
    assert not [path for path in finished.rglob("*") if path.stat().st_mode & 0o022]
