"""Damage is never a silent wrong number: it is repaired, or told in a sentence that names the file."""

import os
import resource
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import Project

pytestmark = pytest.mark.workflow


def the_only(project: Project, pattern: str) -> Path:
    """The first file that matches, which must exist."""
    return next(iter(sorted(project.folder.glob(pattern))))


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle; size and time stay."""
    time = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns))


def truncate(path: Path) -> None:
    """Keep the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def metrics_without(project: Project) -> pd.DataFrame:
    """The metrics, after which the outputs of training and all that follows are removed."""
    metrics = project.metrics()
    for name in ("runs", "results", "tables", "notebooks", "report.html"):
        path = project.folder / "outputs" / "paper" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return metrics


@pytest.mark.parametrize("damage", [flip_a_byte, truncate])
@pytest.mark.parametrize("pattern", ["outputs/paper/data/*", "outputs/paper/corrupted/*/*/*"])
def test_damaged_input_of_training_is_named_with_the_way_out(
    made: Project, pattern: str, damage: object
) -> None:
    before = metrics_without(made)
    shutil.rmtree(made.folder / "outputs" / "finished")
    path = the_only(made, pattern)
    damage(path)  # type: ignore[operator]
    text = made.run("--rerun-triggers", "params", ok=False)
    relative = path.relative_to(made.folder)
    assert f"{relative} is damaged" in text
    assert f"rm {relative}" in text
    path.unlink()
    made.run("--rerun-triggers", "params")
    pd.testing.assert_frame_equal(made.metrics(), before, check_exact=True)


def test_damaged_result_is_named(made: Project) -> None:
    for name in ("results", "tables", "notebooks"):
        shutil.rmtree(made.folder / "outputs" / "paper" / name)
    (made.folder / "outputs" / "paper" / "report.html").unlink()
    path = the_only(made, "outputs/paper/runs/*/*/metrics.parquet")
    truncate(path)
    text = made.run(ok=False)
    assert f"{path.relative_to(made.folder)} is damaged" in text, text


def test_damaged_finished_run_is_set_aside_and_trained_again(made: Project) -> None:
    before = metrics_without(made)
    damaged = the_only(made, "outputs/finished/*/seed=1/metrics.parquet")
    truncate(damaged)
    made.run()
    # It trained without its company now, which changes the rounding and nothing else.
    pd.testing.assert_frame_equal(made.metrics(), before, check_exact=False, atol=1e-4)
    assert len(made.trained_now()) == 1
    assert list(made.folder.glob("outputs/finished/*/damaged-*"))
    logs = "".join(log.read_text() for log in made.folder.glob("outputs/paper/logs/train/*/*.log"))
    assert "damaged" in logs


def test_damaged_entry_of_the_cache_is_refused_and_named(made: Project, tmp_path: Path) -> None:
    """Snakemake itself uses a truncated entry without a word."""
    cache = tmp_path / "cache"
    cache.mkdir()

    class Cached(Project):
        def environment(self) -> dict[str, str]:
            return {**super().environment(), "SNAKEMAKE_OUTPUT_CACHE": str(cache)}

    for name in ("outputs", "resources"):
        shutil.rmtree(made.folder / name)
    shutil.copytree(made.folder, tmp_path / "second", symlinks=True)
    Cached(made.folder).run("--cache")
    entries = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert len(entries) == 1  # the prepared digits
    truncate(entries[0])
    text = Cached(tmp_path / "second").run("--cache", ok=False)
    assert "outputs/paper/data/digits.safetensors is damaged" in text
    assert f"rm outputs/paper/data/digits.safetensors {entries[0]}" in text


def test_full_disk_is_one_sentence_and_leaves_nothing_half_written(project: Project) -> None:
    """A limit on the size of files stands for a disk that is full."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = project.run_within(small_files, "outputs/paper/data/digits.safetensors")
    assert done.returncode != 0
    assert "lapwing: outputs/paper/data/digits.safetensors cannot be written: " in done.stderr
    assert "File too large" in done.stderr
    assert not list((project.folder / "outputs" / "paper" / "data").glob("*"))
