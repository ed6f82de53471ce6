"""The keys of `config.yaml` that name folders."""

from pathlib import Path
from typing import Any

import pytest

from lapwing.errors import UserError
from lapwing.schema import validate
from lapwing.settings import Settings


def settings(**keys: Any) -> Settings:
    return validate(Settings, keys, "config")


def test_every_folder_may_lie_in_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    found = settings(finished_runs="~/finished", studies="~/studies", data={"mirror": ["~/data", "~"]})
    assert found.finished_runs == tmp_path / "finished"
    assert found.studies == tmp_path / "studies"
    assert found.data.mirror == [tmp_path / "data", tmp_path]


@pytest.mark.parametrize("key", ["finished_runs", "studies"])
@pytest.mark.parametrize("folder", ["$HOME/lapwing", "/scratch/${USER}", "~nobody_of_this_name/lapwing"])
def test_a_folder_that_only_a_shell_could_read_is_refused(key: str, folder: str) -> None:
    with pytest.raises(UserError, match=rf"^config: {key}: must be the folder itself: .* \(it is '"):
        settings(**{key: folder})


def test_a_mirror_that_only_a_shell_could_read_is_refused() -> None:
    with pytest.raises(UserError, match=r"^config: data\.mirror\.0: must be the folder itself: variables"):
        settings(data={"mirror": "$SCRATCH/data"})
