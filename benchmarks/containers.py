"""Whether containers give the same numbers: the demo here and in containers, each from nothing.

    make same-numbers
    python -m benchmarks.containers --slurm     the containers on the cluster that this machine is of

Two copies of the workflow in `outputs/same-numbers` share nothing, finished runs included. Every file that
holds numbers is compared (`benchmarks/same.py`). Ends with exit code 1 if anything differs, or if the whole
demo left nothing of a kind.
"""

import argparse
import shutil
import sys
from collections import Counter

from benchmarks.project import ROOT, WORKFLOW, new_project, run
from benchmarks.same import compare, different

FOLDER = ROOT / "outputs" / "same-numbers"
HERE = ["--cores", "2"]
ON_SLURM = ["--profile", "profiles/slurm"]


def main(artefacts: list[str], where: list[str]) -> None:
    """Run the demo twice, compare, and print; the exit code says whether all is equal."""
    here, contained = FOLDER / "here", FOLDER / "in-containers"
    for copy, options in ((here, HERE), (contained, [*where, "--sdm", "apptainer"])):
        shutil.rmtree(copy, ignore_errors=True)
        new_project(ROOT, copy, WORKFLOW)
        (copy / "containers").symlink_to(ROOT / "containers")
        seconds = run(copy, [*artefacts, *options, "--config", "scale=demo"])
        print(f"{copy}: {seconds:.0f} s", flush=True)
    outputs = here / "outputs/demo", contained / "outputs/demo"
    found = compare(*outputs)
    for kind, results in found.items():
        counts = ", ".join(f"{number} {how}" for how, number in Counter(results.values()).items())
        print(f"{kind}: {counts or 'none'}")
    unequal = different(*outputs)
    missing = [] if artefacts else [kind for kind, results in found.items() if not results]
    sys.exit("\n".join(["Different, or not made:", *unequal, *missing]) if unequal or missing else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artefacts", nargs="*", help="instead of all that the demo makes")
    parser.add_argument("--slurm", action="store_true", help="send the jobs in containers to Slurm")
    arguments = parser.parse_args()
    main(arguments.artefacts, ON_SLURM if arguments.slurm else HERE)
