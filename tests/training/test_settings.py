"""Settings of training, and the keys of the runs that they decide."""

import pytest

from lapwing import files
from lapwing.training.finished import data_digest, run_key
from lapwing.training.settings import RunSettings
from tests.training.parts import cell_of, write_digits


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "ccb81a4f43522de5"),
        (
            {"corruption": "added_noise", "method": "lap", "layout": "mixed", "precision": "float64"},
            "6150b79daec08c6e",
        ),
    ],
)
def test_a_setting_that_is_added_leaves_the_keys_of_older_runs_as_they_are(changes, key):
    """Keys may change with a version in the settings, and with nothing else; then write the new ones down."""
    settings = RunSettings.model_validate(cell_of(**changes)["settings"])
    assert run_key(settings, "") == key
    assert run_key(settings.model_copy(update={"augmentation": "none"}), "") == key


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": "horizontal_flip"},
        {"layout": "balanced"},
        {"precision": "tf32"},
        {"precision": "bf16"},
    ],
)
def test_settings_that_decide_numbers_decide_the_key_and_survive_a_file(change):
    plain, changed = (RunSettings.model_validate(cell_of(**c)["settings"]) for c in ({}, change))
    assert run_key(changed, "") != run_key(plain, "")
    assert RunSettings.model_validate(changed.model_dump(mode="json")) == changed
    assert changed.training.model_dump().items() >= change.items()


def test_the_digest_of_data_knows_what_is_made_of_them(tmp_path):
    path = write_digits(tmp_path)
    arrays, about = files.read_arrays(path)
    digests = {data_digest(path)}
    for more in (
        {},
        {"normalisation": [[0.5], [0.2]]},
        {"normalisation": [[0.5], [0.3]]},
        {"licence": "other"},
    ):
        other = tmp_path / "other.safetensors"
        files.write_arrays(other, arrays, {**about, **more})
        digests.add(data_digest(other))
    assert len(digests) == 3
