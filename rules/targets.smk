"""What was asked for: mistakes are refused before any job."""

import contextlib
import io
import sys
from pathlib import Path

from snakemake.cli import parse_args

from lapwing.errors import UserError, as_one_sentence, did_you_mean


def requested_targets():
    """The targets on the command line.

    While the Snakefile is read only Snakemake's own parser knows them; where Snakemake is
    used as a library there are none.
    """
    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return []
    with contextlib.redirect_stderr(io.StringIO()):  # it says a second time which profile it reads
        return list(parse_args(sys.argv[1:])[1].targets)


def check_artefacts(rules):
    """Refuse artefacts that are called as a rule."""
    with as_one_sentence():
        for name in sorted({"all", *rules} & plan.artefacts.keys()):
            raise UserError(f"artefacts: {name} is the name of a rule; call it otherwise.")


def check_targets():
    """Refuse a misspelt target, and one that cannot be made, in one sentence.

    Snakemake starts jobs as processes of their own, which read the Snakefile too and ask for no target.
    """
    if not workflow.is_main_process:
        return
    targets, known = requested_targets(), ["all", "report", *plan.artefacts]
    with as_one_sentence():
        for target in targets:
            if target in plan.left_out:
                raise UserError(f"{target} cannot be made: {plan.left_out[target]}")
            if target not in known and target in plan.only_elsewhere:
                scale = plan.settings.scale
                raise UserError(f"{target} takes no part at scale {scale}; use scale=demo or scale=paper.")
            if target not in known and not set(target) & set("./"):
                raise UserError(f"There is no target {target}; {did_you_mean(target, known)}")
    say_what_is_ahead(targets)


def say_what_is_ahead(targets):
    """Name what is left out of everything; before more than an hour of training say how much it is."""
    everything = not targets or not {"all", "report"}.isdisjoint(targets)
    for artefact in plan.wanted if everything else ():
        if artefact in plan.left_out:
            print(f"lapwing: {artefact} is left out: {plan.left_out[artefact]}", file=sys.stderr)
    wanted = plan.made if everything else [target for target in targets if target in plan.artefacts]
    with as_one_sentence():
        plan.check_gpus(wanted)
    remaining = plan.remaining(wanted, Path("outputs", plan.settings.scale, "data"))
    if remaining.hours > 1:
        print(f"lapwing: {remaining}", file=sys.stderr)
