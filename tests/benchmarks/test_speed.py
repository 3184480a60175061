"""The benchmark of the speed runs all that it compares."""

from argparse import Namespace

from conftest import ROOT

from benchmarks.speed import measure


def test_every_kind_is_measured_in_training_and_prediction(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "query_binary_classifier").mkdir()
    for name in ("train", "valid", "test"):
        rows = "".join(f"{'red fish ' * (1 + at % 3)}\t0.{at}\n" for at in range(9))
        (tmp_path / "query_binary_classifier" / f"{name}.tsv").write_text(rows)
    options = Namespace(data=tmp_path, overrides=[], rounds=1, rows=8, clock="wall")
    tables = list(measure(options, 4, tmp_path))
    assert [row[:2] for row in tables] == [["training", "4"], ["prediction", "4"]]
    assert all(int(cell.replace(",", "")) > 0 for row in tables for cell in row[2:6])
