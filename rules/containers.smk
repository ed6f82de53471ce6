"""The images of the jobs' containers, and what these see of this machine."""

import contextlib
import os
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

from lapwing.errors import UserError, as_one_sentence
from lapwing.images import check_images

in_containers = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def bind_folders():
    """Show containers the folders that settings name; by themselves they see little more than this one."""
    named = [*plan.settings.data.mirror, plan.settings.finished_runs, Path("outputs"), Path("resources")]
    named += [Path(os.environ[name]) for name in ("SNAKEMAKE_OUTPUT_CACHE", "TMPDIR") if os.environ.get(name)]
    if not workflow.output_settings.dryrun:  # what is not there cannot be shown
        with contextlib.suppress(OSError):  # of which the job speaks
            plan.settings.finished_runs.mkdir(parents=True, exist_ok=True)
    places = {place for folder in named if folder.exists() for place in (folder.absolute(), folder.resolve())}
    outside = sorted(str(place) for place in places if not place.is_relative_to(Path.cwd()))
    for place in outside:
        if set(place) & set(",:"):
            raise UserError(f"{place} cannot be shown to containers: its name holds a comma or a colon.")
    given = os.environ.get("APPTAINER_BIND") or os.environ.get("SINGULARITY_BIND") or ""
    # What a Snakemake elsewhere added, which started this job: its folders need not be here.
    shown = os.environ.get("LAPWING_SHOWN", "").split(",")
    words = [word for word in given.split(",") if word not in shown]
    binds = ",".join(dict.fromkeys([*filter(None, words), *outside]))
    os.environ |= {"APPTAINER_BIND": binds, "SINGULARITY_BIND": binds}  # the variables of the twins
    os.environ |= {"LAPWING_SHOWN": ",".join(place for place in outside if place not in words)}


def check_images_of_jobs():
    """Refuse what jobs to come would fail with: an image that is not there, or of another state of the code."""
    if not in_containers or workflow.touch:
        return
    needed = {job.container_img_url for job in workflow.dag.needrun_jobs()} - {None}
    with as_one_sentence():
        check_images(map(Path, needed))


if in_containers:
    with as_one_sentence():
        bind_folders()
