"""What profiles/slurm/bin tells the executor plugin: of forgotten jobs, and where there is no answer."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMANDS = Path(__file__).parents[3] / "profiles/slurm/bin"
FOR_THE_PLUGIN = ["--format=%i|%T", "--states=all", "--noheader", "--name", "lapwing_of_this_call"]
SLURM = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
*--jobs*)
    [ -e away ] && { echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; }
    for job; do :; done
    grep -q "^$job|" known || { echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1; } ;;
*--states=all*) [ -e broken ] && { echo 2 3; echo No route to host >&2; exit 1; }; cat listed ;;
*) echo "$*" ;;
esac
"""
SCONTROL = """#!/bin/sh
echo 'AccountingStorageTRES   = cpu,mem'
echo 'AccountingStorageType   = {}'
"""


@dataclass(frozen=True)
class Slurm:
    """A squeue that lists what it is told to list, and knows what it is told to know."""

    folder: Path

    def command(self, name: str, script: str) -> None:
        """Make one of Slurm's commands."""
        path = self.folder / name
        path.write_text(script)
        path.chmod(0o755)

    def ask(
        self, *words: str, command: str = "squeue", accounting: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Call our command in front of this one."""
        self.command("squeue", SLURM)
        if not (self.folder / "sacct").exists():
            self.command("sacct", "#!/bin/sh\nexit 1\n")
        if not (self.folder / "scontrol").exists():
            self.command("scontrol", SCONTROL.format("accounting_storage/none"))
        return subprocess.run(
            [COMMANDS / command, *words],
            cwd=self.folder,
            env={
                "LAPWING_SQUEUE": str(self.folder / "squeue"),
                "LAPWING_SACCT": str(self.folder / "sacct") if accounting else "",
                "PATH": f"{f'{COMMANDS}:' * (command == 'sacct')}{self.folder}:/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def says(self, listed: str, known: str = "") -> list[str]:
        """What the plugin hears when Slurm lists these jobs, and knows those too."""
        self.listed(listed, known)
        answer = self.ask(*FOR_THE_PLUGIN)
        assert (answer.returncode, answer.stderr) == (0, "")
        return answer.stdout.split()

    def listed(self, listed: str, known: str = "") -> None:
        """Make Slurm list these jobs, and know those too."""
        (self.folder / "listed").write_text("".join(f"{job}\n" for job in listed.split()))
        (self.folder / "known").write_text("".join(f"{job}\n" for job in [*listed.split(), *known.split()]))


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def test_what_slurm_lists_is_passed_on(slurm: Slurm) -> None:
    assert slurm.says("") == []
    assert slurm.says("1|RUNNING 2|PENDING") == ["1|RUNNING", "2|PENDING"]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "PREEMPTED", "NODE_FAIL"])
def test_job_that_slurm_has_forgotten_failed(slurm: Slurm, state: str) -> None:
    slurm.says(f"1|{state} 12|RUNNING")
    assert slurm.says("12|RUNNING") == ["12|RUNNING", "1|ERROR"]
    assert slurm.says("12|COMPLETED") == ["12|COMPLETED"]
    assert not list(slurm.folder.glob(".snakemake/slurm_unfinished/*"))


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"])
def test_job_that_ended_is_not_spoken_of(slurm: Slurm, state: str) -> None:
    slurm.says("1|RUNNING")
    slurm.says(f"1|{state}")
    assert slurm.says("") == []


@pytest.mark.parametrize(
    ("accounted", "said"),
    [("COMPLETED", "COMPLETED"), ("CANCELLED by 0", "CANCELLED"), ("PREEMPTED", "ERROR"), ("", "ERROR")],
)
def test_accounting_knows_better(slurm: Slurm, accounted: str, said: str) -> None:
    """What is not an end for the plugin is an error: the job is not there any more."""
    slurm.command("sacct", f"#!/bin/sh\necho '{accounted}'\n")
    slurm.says("1|RUNNING")
    assert slurm.says("") == [f"1|{said}"]


def test_job_that_is_only_not_listed_is_waited_for(slurm: Slurm) -> None:
    slurm.says("1|RUNNING")
    assert slurm.says("", known="1|RUNNING") == []
    (slurm.folder / "away").touch()
    assert slurm.says("") == []
    (slurm.folder / "away").unlink()
    assert slurm.says("1|RUNNING") == ["1|RUNNING"]
    assert slurm.says("") == ["1|ERROR"]


def test_queue_that_fails_lists_nothing(slurm: Slurm) -> None:
    slurm.says("1|RUNNING")
    (slurm.folder / "broken").touch()
    failed = slurm.ask(*FOR_THE_PLUGIN)
    assert (failed.returncode, failed.stdout) == (0, "")
    (slurm.folder / "broken").unlink()
    assert slurm.says("") == ["1|ERROR"]


def test_failed_queries_are_noted(slurm: Slurm) -> None:
    slurm.says("1|RUNNING")
    notes = slurm.folder / "outputs/slurm-logs/queue.log"
    assert not notes.exists()
    (slurm.folder / "broken").touch()
    slurm.command("sacct", "#!/bin/sh\necho Not now. >&2; echo Nor here. >&2; exit 2\n")
    slurm.ask(*FOR_THE_PLUGIN)
    slurm.ask(*OF_ACCOUNTING, command="sacct")
    said = [line.split(" ", 1)[1] for line in notes.read_text().splitlines()]
    unanswered = "squeue, exit code 1: No route to host"
    assert said == [unanswered, "sacct, exit code 2: Nor here.", unanswered]


def test_answer_does_not_depend_on_the_notes(slurm: Slurm) -> None:
    for name in (".snakemake", "outputs"):
        (slurm.folder / name).touch()  # where a folder should be
    assert slurm.says("1|RUNNING") == ["1|RUNNING"]
    (slurm.folder / "broken").touch()
    assert slurm.says("1|RUNNING") == []


def test_other_questions_go_to_slurm(slurm: Slurm) -> None:
    assert slurm.ask("--me", "-o", "%i %k").stdout == "--me -o %i %k\n"


OF_ACCOUNTING = ["-X", "--noheader", "--starttime", "2026-01-01T00:00", "--endtime", "now", "--name", "call"]


@pytest.mark.parametrize(
    ("accounting", "script", "said"),
    [
        ("accounting_storage/slurmdbd", "echo '1|RUNNING'", "1|RUNNING\n"),
        ("accounting_storage/slurmdbd", "echo Connection refused >&2; exit 1", ""),
        ("accounting_storage/none", "echo Slurm accounting storage is disabled >&2; exit 1", "2|PENDING\n"),
        ("(null)", "echo Slurm accounting storage is disabled >&2; exit 1", "2|PENDING\n"),
    ],
)
def test_queue_is_asked_where_slurm_keeps_no_accounts(
    slurm: Slurm, accounting: str, script: str, said: str
) -> None:
    """A database that is away for a while says nothing of jobs: the queue may have forgotten them."""
    slurm.command("sacct", f"#!/bin/sh\n{script}\n")
    slurm.command("scontrol", SCONTROL.format(accounting))
    slurm.listed("2|PENDING")
    asked = slurm.ask(*OF_ACCOUNTING, command="sacct")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, said, "")


def test_without_accounting_the_queue_is_asked(slurm: Slurm) -> None:
    slurm.listed("1|RUNNING")
    assert slurm.ask(*OF_ACCOUNTING, command="sacct", accounting=False).stdout == "1|RUNNING\n"


def test_other_questions_go_to_the_accounting(slurm: Slurm) -> None:
    slurm.command("sacct", '#!/bin/sh\necho "$*"\n')
    assert slurm.ask("-nu", "me", command="sacct").stdout == "-nu me\n"
