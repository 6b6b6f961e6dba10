"""Every script and notebook of examples/ runs as it stands: offline, on the bundled models and samples."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    """A folder with the samples, in which the example writes."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")


def test_there_are_examples():
    """At least six scripts and one notebook, and the page of examples shows every script."""
    assert len(SCRIPTS) >= 6 and NOTEBOOKS
    page = (ROOT / "docs" / "guides" / "examples.md").read_text(encoding="utf-8")
    assert not [path.name for path in [*SCRIPTS, *NOTEBOOKS] if f"examples/{path.name}" not in page]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_script_runs(script, monkeypatch, capsys):
    """A script runs without arguments and prints something."""
    monkeypatch.setattr("sys.argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_runs(notebook):
    """The code cells of a notebook run in order, and it is kept without outputs."""
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        assert not cell["outputs"] and cell["execution_count"] is None
        exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number}", "exec"), names)
