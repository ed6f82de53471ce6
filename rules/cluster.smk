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


JOBS_OF_A_GROUP = 10  # at most: as profiles/slurm says of corruptions; the results of a study are fewer jobs


def minutes_in_group(amount):
    """The same for the jobs of a group, which together ask for no more than one job may."""
    return minutes(amount, plan.settings.slurm.max_minutes // JOBS_OF_A_GROUP)


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


def put_our_squeue_first():
    """Slurm's executor plugin asks `squeue`; ours also speaks of the jobs that Slurm has forgotten."""
    ours = Path("profiles/slurm/bin/squeue").absolute()
    slurms = os.environ.get("LAPWING_SQUEUE") or shutil.which("squeue")
    if slurms and shutil.which("squeue") != str(ours):
        os.environ |= {
            "LAPWING_SQUEUE": slurms,
            "PATH": os.pathsep.join([str(ours.parent), *os.get_exec_path()]),
        }


put_our_squeue_first()


on_cpus = slurm_resources()
on_gpus = slurm_resources(plan.settings.gpu)
