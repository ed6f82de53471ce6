"""Write the pictures of docs/workflow.md as Snakemake draws them; --check says whether they are there."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("workflow.md")
PICTURES = [
    ["all", "--rulegraph", "mermaid-js", "--config", "scale=demo", "demo=[]"],
    ["figure_4", "--dag", "mermaid-js", "--config", "scale=demo"],
]
"""What Snakemake is asked, in the order of the page's pictures."""
NODE = re.compile(r"^\s*(id\d+)\[(.*)\]$", re.MULTILINE)
ARROW = re.compile(r"^\s*(id\d+) --> (id\d+)$", re.MULTILINE)
BLOCK = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def drawn(words: list[str]) -> str:
    """A graph that Snakemake draws, in an order and with names that do not change from call to call."""
    command = [sys.executable, "-m", "snakemake", *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode:
        sys.exit(answer.stderr)
    labels = {node: _label(text) for node, text in re.findall(NODE, answer.stdout)}
    arrows = re.findall(ARROW, answer.stdout)

    def place(node: str) -> tuple[str, list[str]]:
        """Jobs may have the same label: then those behind them decide."""
        return labels[node], sorted(labels[end] for start, end in arrows if start == node)

    names = {node: f"n{number}" for number, node in enumerate(sorted(labels, key=place))}
    lines = [f'{name}["{labels[node]}"]' for node, name in names.items()]
    lines += sorted(f"{names[start]} --> {names[end]}" for start, end in arrows)
    return "\n    ".join(["```mermaid\nflowchart TB", *lines]) + "\n```\n"


def _label(text: str) -> str:
    """A rule and its wildcards, a line each; without the hashes, which any new version changes."""
    rule, *wildcards = text.split(" - ")
    return "<br>".join([rule, *(wildcard for wildcard in wildcards if not wildcard.startswith("key: "))])


def page() -> str:
    """The page with its pictures drawn anew."""
    pictures = map(drawn, PICTURES)
    return BLOCK.sub(lambda _: next(pictures), PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    new = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != PAGE.read_text(encoding="utf-8"):
        sys.exit("docs/workflow.md does not show the workflow as it is; make pictures draws it anew.")
