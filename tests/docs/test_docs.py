"""What the docs show runs as it stands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from core.document import read_document
from engine.experiment import checked

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "dataset" / "README.md",
    ROOT / "benchmarks" / "README.md",
]


def fenced(page: str, language: str) -> list[str]:
    """The blocks of code of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def test_what_is_generated_is_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def headings(page: Path) -> set[str]:
    """What links to a part of a page name: as GitHub does, a number behind what is there already."""
    found: list[str] = []
    for heading in re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M
    ):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return {f"{name}-{found[:at].count(name)}".removesuffix("-0") for at, name in enumerate(found)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, part in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        path = page.parent / target if target else page
        assert target.startswith("http") or path.exists(), target
        assert not part or path.suffix != ".md" or part in headings(path), f"{target}#{part}"


def test_the_configs_of_readme_and_guides_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (first, second) = fenced("docs/tutorial.md", "json")
    (tmp_path / "my_model.json").write_text(first)
    (tmp_path / "larger.json").write_text(second)
    (mine,) = fenced("README.md", "json")
    (tmp_path / "mine.json").write_text(mine)
    encoder, _ = fenced("docs/encoders.md", "json")
    (tmp_path / "encoder.json").write_text(encoder)
    for name in ("my_model.json", "larger.json", "mine.json", "encoder.json"):
        assert checked(read_document(tmp_path / name), name, files=False).notices == []


def test_the_block_of_the_guide_keeps_the_contract_and_trains(task, door, monkeypatch):
    block, contract = fenced("docs/add_a_block.md", "python")
    (config,) = fenced("docs/add_a_block.md", "json")
    task.file("my_block.py", block)
    monkeypatch.syspath_prepend(str(task.folder))
    monkeypatch.delitem(sys.modules, "my_block", raising=False)
    addition = json.loads(config)
    task.config["plugins"] = addition["plugins"]
    task.config["architecture"].insert(2, addition["architecture"][0])
    task.config["architecture"][3]["inputs"] = ["scaled"]
    try:
        exec(compile(contract, "add_a_block.md", "exec"), {})  # safe: our own page
        code, _, err = door("train", "--conf_path", task.path)
        assert code == 0, err
    finally:
        from block_zoo import BLOCKS

        BLOCKS._classes.pop("Scale", None)
        sys.modules.pop("my_block", None)
