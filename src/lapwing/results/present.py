"""Run an artefact's notebook on its results; keep it, executed, as a notebook and as a page.

The kernel is the interpreter that runs this, whatever kernels the machine has; nothing is
written under the declared names before the whole notebook has run.
"""

import ast
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from markupsafe import Markup
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from lapwing import files
from lapwing.errors import UserError, did_you_mean
from lapwing.results.layout import templates

KERNEL = "lapwing"
IOPUB_SECONDS = 120
"""Between a cell's end and the last that it shows; by default 4, which a busy machine may take."""
LONGEST_SOCKET_FOLDER = 90
"""The system allows some 107 bytes for the name of a socket; beyond, a port serves."""


def present(notebook: Path, parameters: Mapping[str, Any], out: Mapping[str, Path]) -> None:
    """Execute a notebook with parameters.

    Args:
        notebook: stored without outputs; one cell is tagged `parameters`.
        parameters: values for names which that cell sets.
        out: the files to write: `notebook` and `html`.

    Raises:
        UserError: a name is not one of the notebook's parameters, or a cell failed; what ran is
            kept beside the notebook's place as `half-run-<name>`.
    """
    notebook, page, target = Path(notebook), Path(out["html"]), Path(out["notebook"])
    _check_parameters(notebook, parameters)
    target.parent.mkdir(parents=True, exist_ok=True)
    half_run = target.with_name(f"half-run-{target.name}")
    with tempfile.TemporaryDirectory(prefix="lapwing-kernel-") as folder:
        manager = _kernel_manager(Path(folder))
        executed = _execute(notebook, half_run, parameters, manager)
    _refuse_half_run(notebook, executed, half_run)
    files.write_text(page, to_page(executed))
    text = nbformat.writes(_without_places(executed))  # type: ignore[no-untyped-call]
    files.write_text(target, text + "\n")
    half_run.unlink()


def to_page(notebook: nbformat.NotebookNode) -> str:
    """An executed notebook as a page that needs nothing from elsewhere; code is left out."""
    exporter = nbconvert.HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic", exclude_input=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    body = exporter.from_notebook_node(notebook)[0]
    page = templates().get_template("notebook.html.j2")
    # What the notebook shows is HTML made from Markdown and from this package's templates, which escape.
    return page.render(title=_title(notebook), body=Markup(body))  # noqa: S704


def _execute(
    notebook: Path, half_run: Path, parameters: Mapping[str, Any], manager: type[AsyncKernelManager]
) -> nbformat.NotebookNode:
    try:
        executed: nbformat.NotebookNode = papermill.execute_notebook(
            notebook, half_run, dict(parameters), kernel_name=KERNEL, kernel_manager_class=manager,
            progress_bar=False, language="python", iopub_timeout=IOPUB_SECONDS,
        )  # fmt: skip
        return executed
    except papermill.PapermillExecutionError as error:
        said = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        where = f"{notebook}, cell {error.exec_count}"
        raise UserError(f"{where}: {said.rstrip('.')}; see {half_run}") from None
    except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{notebook}: its kernel ended ({first}); see {half_run}") from error


def _refuse_half_run(notebook: Path, executed: nbformat.NotebookNode, half_run: Path) -> None:
    """Papermill's own word for each cell: a notebook is done when all its cells are."""
    for number, cell in enumerate(executed.cells, start=1):
        status = cell.metadata.get("papermill", {}).get("status")
        if cell.cell_type == "code" and status != "completed":
            raise UserError(f"{notebook}: cell {number} is {status or 'not run'}; see {half_run}")


def _without_places(executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the paths and the environment in which it ran."""
    kept = ("parameters", "version", "start_time", "end_time", "duration", "exception")
    executed.metadata["papermill"] = {
        name: value for name, value in executed.metadata["papermill"].items() if name in kept
    }
    executed.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return executed


def _title(notebook: nbformat.NotebookNode) -> str:
    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    description = parameters.get("description") or {}
    return str(description.get("title") or parameters.get("artefact") or "Lapwing")


# -- parameters ----------------------------------------------------------------------------------------


def _check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Names become code: only those that the notebook itself sets are let through."""
    known = parameters_of(notebook)
    for name in parameters:
        if not name.isidentifier() or name not in known:
            raise UserError(f"{notebook}: unknown parameter {name!r}; {did_you_mean(name, known)}")


def parameters_of(notebook: Path) -> list[str]:
    """The names that the cell tagged `parameters` sets."""
    if not notebook.is_file():
        raise UserError(f"There is no notebook {notebook}.")
    try:
        cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        statements = ast.parse(tagged[0].source).body
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, SyntaxError, IndexError):
        raise UserError(f"{notebook} is no notebook with one cell tagged parameters.") from None
    targets = [
        target
        for statement in statements
        for target in getattr(statement, "targets", [getattr(statement, "target", None)])
    ]
    return [target.id for target in targets if isinstance(target, ast.Name)]


# -- the kernel ----------------------------------------------------------------------------------------


def _kernel_manager(folder: Path) -> type[AsyncKernelManager]:
    """Starts this interpreter as the kernel; its history, profile and sockets stay in `folder`.

    A shared history is a database that notebooks which run at the same time lock for each other,
    and ports are shared with everybody on the machine.
    """
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=[*start, "--HistoryManager.enabled=False", "--log-level=CRITICAL"],
        display_name="Python 3",
        language="python",
        env={"IPYTHONDIR": str(folder), "MPLBACKEND": "agg", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    )

    class Manager(AsyncKernelManager):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            if len(str(folder)) <= LONGEST_SOCKET_FOLDER:
                self.transport, self.ip = "ipc", str(folder / "socket")

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return Manager
