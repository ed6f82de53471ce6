"""Containers: every rule has one, they hold the workflow's versions, and they give the same numbers."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from benchmarks.same import compare
from lapwing import __version__
from lapwing.code import PLANNED_BY, Code, check_planned_by_same, say_who_plans
from lapwing.errors import UserError
from lapwing.training.origin import lock_of_image
from tests.workflow.conftest import ROOT, Elsewhere, Project, new_project

pytestmark = pytest.mark.workflow
STAGES = sorted(path.stem for path in (ROOT / "containers").glob("*.def"))


# -- rules and definitions ---------------------------------------------------------------------------


def test_every_rule_names_a_container_that_can_be_built():
    named = {}
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            named[rule.split(":")[0]] = re.findall(r'container:\n\s+"containers/(\w+)\.sif"', rule)
    assert len(named) >= 7
    assert all(named.values()), named
    assert {stage for stages in named.values() for stage in stages} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_definitions_differ_only_in_what_a_stage_is(stage):
    text = (ROOT / "containers" / f"{stage}.def").read_text()
    other = (ROOT / "containers" / "data.def").read_text()
    changed = [line for line in text.splitlines() if line not in other.splitlines()]
    ours = ("# The container of", f"    sh /mnt/containers/install.sh {stage}", "    python -c")
    assert all(line.startswith(ours) for line in changed)
    assert f"install.sh {stage}\n" in text
    assert re.search(r"from=\S+@sha256:[0-9a-f]{64}\n", text)


def locked(name: str) -> set[str]:
    """The versions of a lock that are for Python 3.11 on Linux."""
    pins = re.findall(
        r"^([a-z0-9_.-]+==\S+)(?: ; (.*?))? \\$", (ROOT / "envs" / name).read_text(), re.MULTILINE
    )
    there = {
        "python_version": "3.11",
        "python_full_version": "3.11.2",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
    }
    assert pins
    return {pin for pin, marker in pins if not marker or Marker(marker).evaluate(there)}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "text"])
def test_a_container_holds_the_versions_of_the_workflow(stage):
    assert locked(f"{stage}.lock.txt") <= locked("workflow.txt")


@pytest.mark.parametrize("stage", ["data", "present"])
def test_only_training_and_texts_take_pytorch(stage):
    assert not any(pin.startswith(("torch==", "nvidia-")) for pin in locked(f"{stage}.lock.txt"))


HIDE = """
import sys

class Hidden:
    def find_spec(name, *_):
        if name in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden)
"""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "text"])
def test_a_stage_needs_nothing_that_its_lock_does_not_hold(stage):
    """What the image's own test imports can be imported here where everything else is hidden."""
    held = {"lapwing", *(pin.partition("==")[0] for pin in locked(f"{stage}.lock.txt"))}
    there = {name: {canonicalize_name(one) for one in of} for name, of in packages_distributions().items()}
    hidden = [name for name, distributions in there.items() if not distributions & held]
    [code] = re.findall('python -c "(.*)"', (ROOT / "containers" / f"{stage}.def").read_text())
    assert "snakemake" in hidden
    subprocess.run([sys.executable, "-c", HIDE.format(hidden=hidden) + code], check=True)


# -- which images are out of date --------------------------------------------------------------------


@pytest.fixture
def makeable(tmp_path: Path) -> Path:
    """A checkout whose images are quickly built: `containers/built` has a line for each."""
    for name in ("containers", "envs", "src"):
        unwanted = shutil.ignore_patterns("*.sif*", ".build", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH=src exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv/workflow.txt").touch()
    build = "echo $1 >>containers/built\ntouch containers/$1.sif\n"
    (tmp_path / "containers/build.sh").write_text(build)
    return tmp_path


def built(checkout: Path, *words: str) -> list[str]:
    """The images that `make containers` builds."""
    log = checkout / "containers/built"
    log.write_text("")
    subprocess.run(["make", "containers", *words], cwd=checkout, capture_output=True, check=True)
    return sorted(log.read_text().split())


def test_images_are_built_anew_when_the_package_or_the_base_changed(makeable):
    assert built(makeable) == STAGES
    assert built(makeable) == []
    (makeable / "src/lapwing/convert.py").rename(makeable / "src/lapwing/converted.py")
    assert built(makeable) == STAGES
    assert built(makeable, "BASE=registry") == STAGES
    assert built(makeable, "BASE=registry") == []
    (makeable / "src/lapwing/converted.py").unlink()
    assert built(makeable, "BASE=registry") == STAGES


def test_images_are_built_anew_when_the_package_changed_meanwhile(makeable):
    build = makeable / "containers/build.sh"
    build.write_text("echo '# more' >>src/lapwing/convert.py\n" + build.read_text())
    assert built(makeable, "containers/data.sif") == STAGES
    assert built(makeable) == STAGES


def test_what_an_editor_leaves_is_no_part_of_the_package(makeable):
    def digest() -> str:
        return answer(makeable / ".venv/bin/python", "-m", "lapwing.code", folder=makeable)

    before = digest()
    (makeable / "src/lapwing/.#plan.py").symlink_to("me@laptop.1234:5678")
    (makeable / "src/lapwing/.ipynb_checkpoints").mkdir()
    (makeable / "src/lapwing/.ipynb_checkpoints/plan.py").touch()
    assert digest() == before
    (makeable / "src/lapwing/another.py").touch()
    assert digest() != before


def test_a_checkout_that_apptainer_cannot_be_shown_is_named(makeable, pretended):
    checkout = makeable / "a:b"
    shutil.copytree(
        ROOT / "containers", checkout / "containers", ignore=shutil.ignore_patterns("*.sif*", ".build")
    )
    done = subprocess.run(
        ["sh", "containers/build.sh", "data"],
        cwd=checkout,
        env={**os.environ, "PATH": f"{pretended}:{os.environ['PATH']}", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    expected = (
        f"lapwing: {checkout} cannot be shown to Apptainer: its name holds a comma or a colon; move it.\n"
    )
    assert done.stderr == expected


def test_the_image_of_kubernetes_knows_its_commit():
    """Runs record it; there is neither git nor a checkout in a pod."""
    text = (ROOT / "profiles/kubernetes/Dockerfile").read_text()
    assert re.search(r"^ARG COMMIT$", text, re.MULTILINE)
    assert re.search(r"^ENV .*LAPWING_COMMIT=\$COMMIT$", text, re.MULTILINE)
    assert "--build-arg COMMIT=" in text


def test_a_machine_without_flock_is_told_before_anything_is_made(makeable, pretended):
    shutil.copy(ROOT / "containers/build.sh", makeable / "containers")
    for name in ("sh", "dirname", "date"):
        (pretended / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["sh", "containers/build.sh", "data"],
        cwd=makeable,
        env={"PATH": str(pretended), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "lapwing: There is no flock; it is in the package util-linux.\n"
    assert not (makeable / "containers/.build").exists()


# -- another Lapwing than the one that planned -------------------------------------------------------


OTHER = Code("0" * 64, 10**18, 7, "laptop", "/home/me/with: a colon/lapwing")


def test_a_job_of_the_same_code_runs_wherever_it_lies():
    environment: dict[str, str] = {}
    say_who_plans(environment)
    check_planned_by_same(environment)
    elsewhere = replace(OTHER, digest=Code.here().digest)
    check_planned_by_same({PLANNED_BY: str(elsewhere), "SINGULARITY_CONTAINER": "containers/train.sif"})
    check_planned_by_same({})


def before_an_edit() -> Code:
    """This code as a login node planned with it, before somebody edited it there."""
    own = Code.here()
    return replace(own, digest="0" * 64, changed=own.changed - 1, host="login1")


def test_code_that_is_edited_in_place_is_the_same_on_every_machine_that_shares_it():
    check_planned_by_same({PLANNED_BY: str(before_an_edit())})


@pytest.mark.parametrize(
    "copy",
    [
        {"number": Code.here().number + 1},
        {"folder": "/home/me/other"},
        {"changed": Code.here().changed},  # of a cloned machine: the same folder and number
    ],
    ids=["copy", "other folder", "clone"],
)
def test_a_copy_on_another_machine_is_refused(copy):
    with pytest.raises(UserError, match="which planned this job; install the same on both"):
        check_planned_by_same({PLANNED_BY: str(replace(before_an_edit(), **copy))})


def test_an_edit_is_seen_as_one(makeable):
    """Also where an editor writes aside and renames."""

    def here() -> Code:
        words = ["-c", "from lapwing.code import Code; print(Code.here())"]
        return Code.read(answer(makeable / ".venv/bin/python", *words, folder=makeable).strip())

    before, edited = here(), makeable / "src/lapwing/plan.py"
    assert Path(before.folder) == makeable / "src/lapwing"
    edited.with_suffix(".new").write_text(edited.read_text() + "# more\n")
    edited.with_suffix(".new").replace(edited)
    assert here().digest != before.digest
    assert here().is_edited(before)
    before = here()
    (makeable / "src/lapwing/methods/nls.py").unlink()
    assert here().is_edited(before)
    shutil.copytree(makeable / "src/lapwing", makeable / "copy")
    shutil.rmtree(makeable / "src/lapwing")
    (makeable / "copy").rename(makeable / "src/lapwing")
    assert not here().is_edited(before)


def test_another_machine_says_which_two_differ():
    with pytest.raises(UserError, match="is another Lapwing than /home/me/with: a colon/lapwing on laptop"):
        check_planned_by_same({PLANNED_BY: str(OTHER)})


def test_a_job_keeps_the_planner_of_its_workflow():
    environment = {PLANNED_BY: str(OTHER)}
    say_who_plans(environment)
    assert environment == {PLANNED_BY: str(OTHER)}


def test_a_stale_image_is_refused_in_one_sentence(project):
    image = "containers/data.sif"
    stale = Elsewhere(project.folder, {PLANNED_BY: str(OTHER), "SINGULARITY_CONTAINER": image})
    said = stale.run("--until", "download", ok=False)
    expected = (
        f"the image {image} holds another Lapwing than {OTHER.folder}, which plans its jobs; build it anew"
    )
    assert f"lapwing: {expected}: make containers" in said
    assert not list(project.folder.glob("resources/raw/*"))


# -- images that cannot be used ----------------------------------------------------------------------


@pytest.fixture
def with_images(project: Project, pretended: Path) -> Elsewhere:
    """A project whose only image is that of the first stages."""
    (project.folder / "containers").mkdir()
    (project.folder / "containers/data.sif").touch()
    return Elsewhere(project.folder, {"PATH": f"{pretended}:{os.environ['PATH']}"})


def test_images_that_are_missing_are_named_before_any_job(with_images):
    said = with_images.run("--sdm", "apptainer", ok=False)
    missing = "There is no containers/present.sif and no containers/train.sif"
    assert f"lapwing: {missing}; build what is missing: make containers\n" in said
    assert "Traceback" not in said
    assert not list(with_images.folder.glob("resources/raw/*"))
    with_images.run("--sdm", "apptainer", "--dry-run")
    with_images.run("--sdm", "apptainer", "--until", "corrupt")  # which needs none of them


@pytest.mark.parametrize(
    ("code", "ok"), [("0" * 64, False), (Code.here().digest, True), ("unknown", True), (None, True)]
)
def test_an_image_of_another_state_is_refused_before_any_job(with_images, tmp_path, code, ok):
    labels = {"lapwing.code": code} if code else None
    said_of_it = {"data": {"attributes": {"labels": labels}}}
    (tmp_path / "labels").write_text(json.dumps(said_of_it))
    said = with_images.run("--sdm", "apptainer", "--until", "download", ok=ok)
    sentence = "lapwing: the image containers/data.sif holds another Lapwing than"
    assert (sentence in said) is not ok
    assert ("rule download:" in said) is ok


# -- what containers see -----------------------------------------------------------------------------


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that containers do not see by themselves: neither the project's nor in /tmp."""
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix="lapwing-test-") as folder:
        yield Path(folder)


@pytest.fixture
def pretended(tmp_path: Path) -> Path:
    """A folder with an `apptainer` that notes what it was to show, and runs the command as it is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "apptainer": 'if [ "$1" = --version ]; then echo apptainer version 1.4.5; exit; fi\n'
        f'if [ "$1" = inspect ]; then exec cat {tmp_path}/labels; fi\n'
        f'echo "$APPTAINER_BIND" >{tmp_path}/binds\n'
        f'echo "$LAPWING_SHOWN" >{tmp_path}/shown\n'
        'while [ "$1" != -c ]; do shift; done\n'
        'exec bash -c "$2"\n',
        "python": f'exec {sys.executable} "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    return folder


def test_folders_of_the_settings_are_shown_to_containers(tmp_path, outside, pretended):
    for name in ("project", "project/containers", "project/mirror"):
        (tmp_path / name).mkdir()
    for name in ("mirror", "cache", "scratch", "real", "tmp"):
        (outside / name).mkdir()
    (outside / "linked").symlink_to(outside / "real")
    project = new_project(tmp_path / "project")
    (project.folder / "resources").symlink_to(outside / "scratch")
    (project.folder / "containers" / "data.sif").touch()
    extra = {
        "PATH": f"{pretended}:{os.environ['PATH']}",
        "APPTAINER_BIND": "/somewhere:/else",
        "SNAKEMAKE_OUTPUT_CACHE": str(outside / "cache"),
        "TMPDIR": str(outside / "tmp"),
    }
    mirrors = f"[{outside}/mirror, {outside}/linked, {project.folder}/mirror]"
    Elsewhere(project.folder, extra).run(
        "--sdm", "apptainer", "--until", "download",
        "--config", f"finished_runs={outside}/finished", f"data={{offline: true, mirror: {mirrors}}}",
    )  # fmt: skip
    shown = (tmp_path / "binds").read_text().strip().split(",")
    named = ("cache", "finished", "linked", "mirror", "real", "scratch", "tmp")
    assert shown == ["/somewhere:/else", *(f"{outside}/{name}" for name in named)]


def test_a_job_on_another_machine_is_shown_what_is_there(tmp_path, outside, project, pretended):
    (project.folder / "containers").mkdir()
    (project.folder / "containers/data.sif").touch()
    (outside / "scratch").mkdir()
    words = ("--sdm", "apptainer", "--forcerun", "download", "--until", "download")
    words += ("--config", f"finished_runs={outside}/finished")
    extra = {
        "PATH": f"{pretended}:{os.environ['PATH']}",
        "APPTAINER_BIND": "/mistaken",
        "TMPDIR": str(outside / "scratch"),
    }
    Elsewhere(project.folder, extra).run(*words)
    binds, shown = ((tmp_path / name).read_text().strip() for name in ("binds", "shown"))
    assert binds == f"/mistaken,{outside}/finished,{outside}/scratch"
    (outside / "scratch").rmdir()
    Elsewhere(project.folder, extra | {"APPTAINER_BIND": binds, "LAPWING_SHOWN": shown}).run(*words)
    assert (tmp_path / "binds").read_text() == f"/mistaken,{outside}/finished\n"


def test_without_containers_nothing_is_made_for_them(project, outside):
    project.run("--dry-run", "--config", f"finished_runs={outside}/finished")
    assert not (outside / "finished").exists()


def test_a_folder_that_cannot_be_shown_is_named(project, outside, pretended):
    mirror = outside / "a,b"
    mirror.mkdir()
    place = Elsewhere(project.folder, {"PATH": f"{pretended}:{os.environ['PATH']}"})
    said = place.run(
        "--sdm", "apptainer", "--dry-run", "--config", f'data={{mirror: ["{mirror}"]}}', ok=False
    )
    assert f"lapwing: {mirror} cannot be shown to containers: its name holds a comma or a colon." in said


# -- the real thing ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def apptainer() -> None:
    """Apptainer; CI installs it where it is missing."""
    install = ["sh", str(ROOT / "containers" / "install-apptainer.sh")]
    if shutil.which("apptainer") is None and os.environ.get("CI") == "true":
        subprocess.run(install, check=False)
    if shutil.which("apptainer") is None:
        pytest.skip("no Apptainer here; containers/install-apptainer.sh installs it on Debian")


@pytest.fixture(scope="session")
def data_image(apptainer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The container of the first stages, built from this checkout."""
    image = tmp_path_factory.mktemp("containers") / "data.sif"
    build = ["sh", "containers/build.sh", "data", str(image)]
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": "src"}
    for _ in range(2):  # a registry may fail to answer once
        done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return image
    raise AssertionError(done.stdout + done.stderr)


@pytest.fixture
def in_containers(data_image: Path, project: Project) -> Project:
    """A project that finds the container where its rules name it."""
    (project.folder / "containers").mkdir()
    (project.folder / "containers" / "data.sif").symlink_to(data_image)
    return project


@pytest.mark.may_be_left_out
def test_an_image_says_what_it_holds(data_image):
    labels = dict(line.split(": ", 1) for line in answer("apptainer", "inspect", data_image).splitlines())
    commit = labels["org.opencontainers.image.revision"].removesuffix("-dirty")
    assert commit == answer("git", "-C", ROOT, "rev-parse", "HEAD").strip()
    assert labels["org.opencontainers.image.version"] == __version__
    digest = hashlib.sha256((ROOT / "envs/data.lock.txt").read_bytes()).hexdigest()
    assert labels["lapwing.lock"] == f"sha256:{digest}"
    assert lock_of_image(data_image) == labels["lapwing.lock"]
    assert labels["lapwing.code"] == Code.here().digest
    packed = ROOT / "containers/.build/lapwing"
    assert data_image.stat().st_mtime < packed.stat().st_mtime  # what is edited meanwhile is newer


def answer(*command: str | Path, folder: Path = ROOT) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.may_be_left_out
def test_an_image_is_complete_without_this_machine(data_image, tmp_path):
    code = "import sys, numpy, lapwing; print(sys.prefix, numpy.__file__, lapwing.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    command = ["apptainer", "exec", "--containall", str(data_image), "python", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert all(place.startswith("/opt/lapwing") for place in done.stdout.split())
    missing = subprocess.run(
        [*command[:-1], "import torch"], env=environment, capture_output=True, check=False
    )
    assert missing.returncode == 1


@pytest.mark.may_be_left_out
def test_containers_give_the_same_data_and_corruption(in_containers, tmp_path_factory, outside):
    local = new_project(tmp_path_factory.mktemp("local"))
    local.run("--until", "corrupt")
    (outside / "cache").mkdir()
    contained = Elsewhere(in_containers.folder, {"SNAKEMAKE_OUTPUT_CACHE": str(outside / "cache")})
    contained.run("--sdm", "apptainer", "--cache", "--until", "corrupt")
    found = compare(local.folder / "outputs/paper", contained.folder / "outputs/paper")
    assert found["prepared data"]
    assert found["corrupted"]
    assert {how for results in found.values() for how in results.values()} == {"equal"}
    prepared = contained.folder.glob("outputs/paper/data/*.safetensors")
    assert all(path.resolve().is_relative_to(outside) for path in prepared)  # in the cache


@pytest.mark.may_be_left_out
def test_an_image_of_another_checkout_is_refused(in_containers, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(ROOT / "src", changed / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "src/lapwing/schema.py").open("a") as file:
        file.write("# another\n")
    other = Elsewhere(in_containers.folder, {"PYTHONPATH": str(changed / "src")})
    said = other.run("--sdm", "apptainer", "--until", "download", ok=False)
    assert f"data.sif holds another Lapwing than {changed}/src/lapwing, which plans its jobs; build" in said
    assert "rule download:" not in said
