"""The data that ships: made by its script, and not to be solved by counting words."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from dataset.make_dataset import ROWS, TASKS, make

FOLDER = Path(__file__).parents[2] / "dataset"


def table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text("utf-8").splitlines()]


def test_the_script_makes_the_files_that_ship(tmp_path):
    make(tmp_path)
    for task in TASKS:
        for name in ROWS:
            assert (tmp_path / task / f"{name}.tsv").read_bytes() == (FOLDER / task / f"{name}.tsv").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_whole_and_no_test_row_stands_in_the_training_file(task):
    tables = {name: table(FOLDER / task / f"{name}.tsv") for name in ROWS}
    seen = {}
    for name, (header, *rows) in tables.items():
        assert {len(row) for row in rows} == {len(header)}
        texts = (1, 5) if task == "demo_matching" else (0, 1)
        seen[name] = {tuple(row[column] for column in texts) for row in rows}
    assert not seen["train"] & (seen["valid"] | seen["test"])
    assert not seen["valid"] & seen["test"]


def test_words_alone_do_not_solve_the_matching_task():
    (_, *train), (_, *test) = (table(FOLDER / "demo_matching" / f"{name}.tsv") for name in ("train", "test"))

    def words(text: str) -> set[str]:
        return set(text.lower().strip(".?").split())

    def shared(rows) -> np.ndarray:
        return np.array([[len(words(row[1]) & words(row[5]))] for row in rows], float)

    bags = [(column, CountVectorizer().fit([row[column] for row in train])) for column in (1, 5)]

    def features(rows) -> np.ndarray:
        counts = [bag.transform([row[column] for row in rows]).toarray() for column, bag in bags]
        return np.hstack([*counts, shared(rows)])

    answers = [row[6] == "1" for row in test]
    model = LogisticRegression(max_iter=2000).fit(features(train), [row[6] == "1" for row in train])
    assert roc_auc_score(answers, model.predict_proba(features(test))[:, 1]) < 0.65
    assert roc_auc_score(answers, shared(test)[:, 0]) < 0.65
