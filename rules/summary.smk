# What happened: after each start that did something it is printed, and kept in outputs/<scale>/summary/.
# Only the driver comes here: Snakemake starts jobs, on a cluster too, with --no-hooks.

import contextlib
import sys
from pathlib import Path

from lapwing.job_log import in_one_sentence
from lapwing.summary import begin, summarise

OF_THIS_SCALE = Path("outputs", plan.settings.scale)
begun = []  # this driver's start, which another one that works on other targets does not change


@contextlib.contextmanager
def without_stopping():
    """Whatever is wrong with a summary is said in a sentence and changes nothing else."""
    try:
        yield
    except Exception as error:
        print(f"lapwing: what happened cannot be told: {in_one_sentence(error)}", file=sys.stderr)


def say_what_happened(failed):
    if not begun:  # it could not be marked, which was said
        return
    with without_stopping():
        said = summarise(OF_THIS_SCALE, begun[-1], failed=failed)
        if said:
            print(f"\n{said}", file=sys.stderr)


onstart:
    check_images_of_jobs()  # here, as only now Snakemake knows which jobs there are
    with without_stopping():
        begun.append(begin(OF_THIS_SCALE, plan.raw))


onsuccess:
    say_what_happened(failed=False)


onerror:
    say_what_happened(failed=True)
