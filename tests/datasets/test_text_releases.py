"""The text stage gives the same arrays with torchtext 0.6.0 and 0.18.0, the last release.

0.18.0 works with PyTorch 2.3 alone, so it has an environment of its own, `.venv-text`: `make text`, or the
first run of these tests, makes it from envs/text.lock.txt (5 GB, in the checkout); it is kept as long as the
lock stays.
"""

import fcntl
import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MIRROR, ROOT

pytestmark = pytest.mark.may_be_left_out

LOCK, FOLDER = ROOT / "envs" / "text.lock.txt", ROOT / ".venv-text"
PREPARE = """
import sys, tempfile
from importlib.metadata import version
from pathlib import Path
from lapwing.datasets.download import download
from lapwing.datasets.prepare import prepare
from lapwing.files import content_hash

key, mirrors = sys.argv[1], [Path(mirror) for mirror in sys.argv[2:]]
with tempfile.TemporaryDirectory() as folder:
    raw, out = Path(folder, key), Path(folder, "out.safetensors")
    download(key, raw, mirrors, True, [], part=True)
    prepare(key, raw, out, part=True)
    print(version("torchtext"), content_hash(out))
"""


@pytest.fixture(scope="module")
def last_release() -> Path:
    """The Python of the environment that has torchtext 0.18.0.

    Where it is not there, 5 GB are installed into the checkout: by one test process at a time, which holds
    the lock's file (flock) meanwhile; the others wait, and find it made.
    """
    with LOCK.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        make_environment()
    return FOLDER / "bin" / "python"


def make_environment() -> None:
    installed = FOLDER / LOCK.name
    if not (installed.is_file() and filecmp.cmp(LOCK, installed, shallow=False)):
        install = ["sh", "envs/install.sh", LOCK.relative_to(ROOT), FOLDER.name]
        environment = {**os.environ, "PYTHON": sys.executable}
        made = subprocess.run(install, cwd=ROOT, env=environment, capture_output=True, text=True)
        if made.returncode:
            why = (made.stderr.strip() or "no reason given").splitlines()[-1]
            pytest.skip(f"torchtext 0.18.0 needs an environment of its own, which cannot be installed: {why}")


def prepared(python: str | Path, *arguments: str | Path) -> tuple[str, str]:
    """The release of torchtext, and the hash of the arrays that it gives."""
    command = [python, "-W", "ignore", "-c", PREPARE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    release, digest = done.stdout.split()
    return release, digest


@pytest.mark.parametrize("key", ["generated_reviews", "generated_raters"])
def test_generated_texts_have_the_same_numbers(key: str, last_release: Path) -> None:
    (old, one), (new, other) = prepared(sys.executable, key), prepared(last_release, key)
    assert (old, new) == ("0.6.0", "0.18.0")
    assert one == other


@pytest.mark.real_data
def test_reviews_have_the_same_numbers(last_release: Path) -> None:
    assert prepared(sys.executable, "imdb", MIRROR)[1] == prepared(last_release, "imdb", MIRROR)[1]
