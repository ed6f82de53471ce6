"""What the documents show works as it stands, and no placeholder is left in them."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lapwing.study_files import read_studies

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "outputs" / "README.md"]


def block(page: str, language: str, number: int = 0) -> str:
    """A code block of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]


def test_study_of_the_guide_can_be_read(tmp_path: Path) -> None:
    shutil.copy(ROOT / "studies" / "table_1.yaml", tmp_path)
    (tmp_path / "how_many.yaml").write_text(block("docs/adding.md", "yaml"), encoding="utf-8")
    cells = read_studies(tmp_path, "paper")["how_many"].cells
    assert {cell.settings.corruption.sources.corrupt for cell in cells} == {2, 4, 6, 8}
    assert len(cells) == 8


def test_method_of_the_guide_keeps_the_smaller_losses() -> None:
    names: dict[str, Any] = {}
    exec(block("docs/adding.md", "python"), names)  # noqa: S102 - the guide's own code
    weights = names["METHOD"]().weights(None, None, None, torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert weights.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_loop_of_the_readme_runs() -> None:
    """The README's two examples, on a network and a loader of a few samples."""
    model = torch.nn.Linear(3, 2)
    batch = (torch.rand(4, 3), torch.tensor([0, 1, 0, 1]), torch.tensor([5, 5, 7, -1]))
    names: dict[str, Any] = {
        "torch": torch,
        "model": model,
        "optimiser": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": [batch, batch],
    }
    before = model.weight.detach().clone()
    exec(block("README.md", "python", 0), names)  # noqa: S102 - the README's own code
    assert not torch.equal(before, model.weight)
    assert names["loss_weighting"].sources == [-1, 5, 7]
    loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    before = model.weight.detach().clone()
    exec(block("README.md", "python", 1), names | {"loss": loss, "source": 3})  # noqa: S102 - likewise
    assert not torch.equal(before, model.weight)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target
