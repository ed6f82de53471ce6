"""`lapwing`: what there is, what happened, what says the same as a published command line, the reference."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lapwing.errors import UserError, as_one_sentence, did_you_mean
from lapwing.registry import Registry
from lapwing.words import many


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence and exit code 1."""
    options = _parser().parse_args(arguments)
    with as_one_sentence():
        options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lapwing", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, text: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run, command=name)
        return added

    for plural in ("datasets", "corruptions", "models", "methods"):
        command(plural, f"list the {plural}", _list_entries)
    studies = command("studies", "list the studies, their artefacts and their number of runs", _list_studies)
    studies.add_argument("--folder", type=Path, default=Path("studies"), help="where the study files are")
    convert = command("convert", "print what says the same here as a published command line", _convert)
    convert.add_argument("--folder", type=Path, default=Path("studies"), help="where the study files are")
    convert.add_argument(
        "--out", type=Path, help="the file to write a study file to; printed if there is none"
    )
    convert.add_argument("system", help="whose command line it is: lap")
    convert.add_argument("words", nargs=argparse.REMAINDER, help="the published script and its options")
    records = command("records", "make a prepared file of one's own WFDB records", _prepare_records)
    records.add_argument("table", type=Path, help="comma-separated: record, label, source, maybe split")
    records.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    jobs = command(
        "jobs", "say what the jobs of the last start of the workflow did, and write it", _show_jobs
    )
    jobs.add_argument("results", type=Path, help="the folder of a scale, for instance outputs/demo")
    reference = command("reference", "write the generated pages of the documentation", _write_reference)
    reference.add_argument("--folder", type=Path, default=Path("studies"), help="where the study files are")
    reference.add_argument("out", type=Path, help="the folder to write to, for instance docs")
    return parser


def _list_entries(options: argparse.Namespace) -> None:
    registry = _registry(options.command)
    for name in registry.names():
        print(f"{name:22} {registry.get(name).title}")


def _registry(plural: str) -> Registry:
    from lapwing.conditions import REGISTRIES
    from lapwing.models import models

    return models if plural == "models" else REGISTRIES[plural.removesuffix("s")]


def _list_studies(options: argparse.Namespace) -> None:
    from lapwing.study import Study
    from lapwing.study_files import SCALES, read_studies

    studies: dict[str, dict[str, Study]] = {scale: read_studies(options.folder, scale) for scale in SCALES}
    for name in studies["paper"]:
        runs = (
            f"{scale} {many(sum(len(cell.seeds) for cell in studies[scale][name].cells), 'run')}"
            for scale in SCALES
            if name in studies[scale]
        )
        study = studies["paper"][name]
        print(f"{name:22} {study.title} ({', '.join(study.artefacts)}; {', '.join(runs)})")


def _convert(options: argparse.Namespace) -> None:
    from lapwing.convert import convert, is_study
    from lapwing.files import write_text
    from lapwing.study_files import read_studies

    if options.system != "lap":
        raise UserError(f"convert: unknown system {options.system}; {did_you_mean(options.system, ['lap'])}")
    answer = convert(options.words, read_studies(options.folder, "paper"))
    if options.out is None:
        print(answer, end="")
    elif is_study(answer):
        write_text(options.out, answer)
        print(f"wrote {options.out}", file=sys.stderr)
    else:
        print(answer, end="")
        raise UserError(f"convert: {options.out} is not written: no study file is needed.")


def _prepare_records(options: argparse.Namespace) -> None:
    from lapwing.records import prepare_records

    arrays, about = prepare_records(options.table, options.out)
    train, test = (len(arrays.get(f"{split}/targets", ())) for split in ("train", "test"))
    what = f"{many(train, 'record')} to train on, {test} to test on, {many(len(about['sources']), 'source')}"
    print(f"wrote {options.out}: {what}, {about['classes']} classes", file=sys.stderr)


def _show_jobs(options: argparse.Namespace) -> None:
    from lapwing.summary import last_start, summarise

    said = summarise(options.results, last_start(options.results))
    print(said or "No job began since the last start.\n", end="")


def _write_reference(options: argparse.Namespace) -> None:
    from lapwing.files import write_text
    from lapwing.reference import pages

    for name, text in pages(options.folder).items():
        write_text(options.out / name, text)
        print(f"wrote {options.out / name}", file=sys.stderr)
