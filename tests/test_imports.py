"""Who may import whom, as read from the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "core": set(),
    "text": {"core"},
    "block_zoo": {"core"},
    "losses": {"core"},
    "problems": {"core", "text"},
    "model_zoo": {"core", "block_zoo"},
    "distillation": {"core", "text", "losses", "problems", "model_zoo"},
    "engine": {"core", "text", "block_zoo", "losses", "problems", "model_zoo", "distillation"},
    "views": {"core", "text", "block_zoo", "losses", "problems", "model_zoo", "distillation", "engine"},
}


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room):
    for path in (ROOT / room).rglob("*.py"):
        ours = set(imported_rooms(path)) & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[room] | {room}, f"{path.relative_to(ROOT)} imports {ours - MAY_IMPORT[room] - {room}}"


def test_doors_import_core_engine_and_views_only():
    for door in ("train.py", "test.py", "predict.py", "benchmark.py", "export.py", "visualize.py", "report.py"):
        assert set(imported_rooms(ROOT / door)) & set(MAY_IMPORT) <= {"core", "engine", "views"}
