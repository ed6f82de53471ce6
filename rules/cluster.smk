"""What jobs ask of a cluster."""

import os
import shutil
from pathlib import Path


def megabytes(amount):
    """`amount`, a number or a function of the wildcards; a second attempt asks for twice, later ones thrice that."""
    most = plan.settings.slurm.max_memory_mb

    def at_attempt(wildcards, attempt):
        wanted = min(attempt, 3) * (amount(wildcards) if callable(amount) else amount)
        return min(wanted, most) if most else wanted

    return at_attempt


def minutes(amount, most=plan.settings.slurm.max_minutes):
    """The same for time, which grows on with every attempt, up to the most that a job asks for."""

    def at_attempt(wildcards, attempt):
        wanted = attempt * (amount(wildcards) if callable(amount) else amount)
        return min(wanted, most)

    return at_attempt


JOBS_OF_A_GROUP = 10  # at most: as profiles/slurm says of corruptions


def minutes_in_group(amount):
    """The same for the jobs of a group; later attempts too ask together for no more than one job may."""
    most = plan.settings.slurm.max_minutes
    return minutes(amount, min(most, max(amount, most // JOBS_OF_A_GROUP)))


def slurm_resources(gpus=0):
    """The site's keys in the words of the executor plugin; what is not set is not asked for."""
    site = plan.settings.slurm
    resources = {
        "in_turn": 1,  # what a profile has few of: jobs of a group run one after another
        "nodes": gpus and 1,  # the processes of a run find each other on one node
        "slurm_account": gpus and site.gpu_account or site.account,
        "slurm_partition": gpus and site.gpu_partition or site.partition,
        "qos": gpus and site.gpu_qos or site.qos,
        "constraint": gpus and site.gpu_constraint or site.constraint,
        "slurm_extra": " ".join(site.extra),
    }
    if gpus and site.gpu_by == "gres":
        resources["gres"] = ":".join(["gpu", *filter(None, [site.gpu_model]), str(gpus)])
    elif gpus:
        resources |= {"gpu": gpus, "gpu_model": site.gpu_model}
    return {name: value for name, value in resources.items() if value}


def put_our_commands_first():
    """Slurm's executor plugin asks `squeue` and `sacct`; ours make it lose no job, and wait for none that is gone."""
    ours = Path("profiles/slurm/bin")
    # Those of another checkout, whose job this may be, are left out too.
    folders = [folder for folder in os.get_exec_path() if not folder.endswith(str(ours))]
    slurms = {name: shutil.which(name, path=os.pathsep.join(folders)) for name in ("squeue", "sacct")}
    if slurms["squeue"]:
        os.environ |= {f"LAPWING_{name.upper()}": path or "" for name, path in slurms.items()}
        os.environ |= {"PATH": os.pathsep.join([str(ours.absolute()), *folders])}


put_our_commands_first()


on_cpus = slurm_resources()
on_gpus = slurm_resources(plan.settings.gpu)
