"""The data that ships: made by its script, and not to be solved by counting words."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, ndcg_score, roc_auc_score

from dataset.make_dataset import ROWS, TASKS, make

FOLDER = Path(__file__).parents[2] / "dataset"


def rows_of(task: str, name: str) -> list[Any]:
    """The rows of a file, as its task made them."""
    text = (FOLDER / task / f"{name}.{TASKS[task].suffix}").read_text("utf-8")
    if TASKS[task].suffix == "json":
        paragraphs = [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]
        return [(paragraph["context"], paragraph["qas"]) for paragraph in paragraphs]
    if TASKS[task].suffix == "conll":
        texts = [[line.split(" ") for line in lines.split("\n")] for lines in text.removesuffix("\n\n").split("\n\n")]
        return [tuple(" ".join(column) for column in zip(*words, strict=True)) for words in texts]
    header, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    assert {len(row) for row in rows} == {len(header)}
    return rows


def both(task: str) -> tuple[list[Any], list[Any]]:
    """The rows of training and of test."""
    return rows_of(task, "train"), rows_of(task, "test")


def test_the_script_makes_the_files_that_ship(tmp_path):
    make(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert made == sorted(path.relative_to(FOLDER) for path in FOLDER.glob("demo_*/*"))
    for path in made:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes()


def test_no_row_without_label_stands_in_another_file():
    folder = FOLDER / "demo_classification"
    more = (folder / "unlabelled.tsv").read_text().splitlines()[1:]
    labelled = {row[0] for name in ROWS for row in rows_of("demo_classification", name)}
    assert len(set(more)) == len(more) > 3000
    assert labelled.isdisjoint(more)


@pytest.mark.parametrize("task", TASKS)
def test_no_row_of_a_file_stands_in_another_one(task):
    train, valid, test = ({tuple(row[at] for at in TASKS[task].reads) for row in rows_of(task, name)} for name in ROWS)
    assert not train & valid and not train & test and not valid & test


@pytest.mark.parametrize("task", ["demo_tagging", "demo_joint"])
@pytest.mark.parametrize("name", ROWS)
def test_every_word_has_a_tag_and_spans_begin_with_b(task, name):
    for words, tags, *_ in rows_of(task, name):
        assert len(words.split(" ")) == len(tags.split(" "))
        for before, tag in zip(["O", *tags.split(" ")], tags.split(" "), strict=False):
            assert tag == "O" or tag[:2] == "B-" or (tag[:2] == "I-" and before[1:] == tag[1:])


def questions_of(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Every question of demo_reading beside its passage."""
    return [(passage, question) for passage, questions in rows_of("demo_reading", name) for question in questions]


@pytest.mark.parametrize("name", ROWS)
def test_every_answer_stands_where_it_is_said_to(name):
    for passage, question in questions_of(name):
        assert question["is_impossible"] == (not question["answers"])
        for answer in question["answers"]:
            assert passage[answer["answer_start"] :].startswith(answer["text"])


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def by_counts(train: list[str], labels: list[Any], test: list[str]) -> np.ndarray:
    """The labels that a logistic regression gives by how often each word occurs."""
    bag = CountVectorizer().fit(train)
    return LogisticRegression(max_iter=2000).fit(bag.transform(train), labels).predict(bag.transform(test))


def test_words_alone_do_not_solve_the_matching_task():
    train, test = both("demo_matching")

    def shared(rows) -> np.ndarray:
        return np.array([[len(words_of(row[1]) & words_of(row[5]))] for row in rows], float)

    bags = [(column, CountVectorizer().fit([row[column] for row in train])) for column in (1, 5)]

    def features(rows) -> np.ndarray:
        counts = [bag.transform([row[column] for row in rows]).toarray() for column, bag in bags]
        return np.hstack([*counts, shared(rows)])

    answers = [row[6] == "1" for row in test]
    model = LogisticRegression(max_iter=2000).fit(features(train), [row[6] == "1" for row in train])
    assert roc_auc_score(answers, model.predict_proba(features(test))[:, 1]) < 0.65
    assert roc_auc_score(answers, shared(test)[:, 0]) < 0.65


@pytest.mark.parametrize(("task", "column"), [("demo_classification", 1), ("demo_joint", 2)])
def test_words_alone_do_not_give_the_label(task, column):
    (texts, labels), (asked, right) = ([[row[at] for row in rows] for at in (0, column)] for rows in both(task))
    assert np.mean(by_counts(texts, labels, asked) == right) < 0.75


def test_words_alone_do_not_give_the_topics():
    (texts, named), (asked, right) = ([[row[at] for row in rows] for at in (0, 1)] for rows in both("demo_multi_label"))
    topics = sorted(set(",".join(named).split(",")) - {""})
    given = [by_counts(texts, [topic in names for names in named], asked) for topic in topics]
    assert np.mean(np.all(np.array(given) == [[topic in names for names in right] for topic in topics], axis=0)) < 0.6


@pytest.mark.parametrize("task", ["demo_tagging", "demo_joint"])
def test_a_word_alone_does_not_give_its_tag(task):
    train, test = ([pair for row in rows for pair in zip(*map(str.split, row[:2]), strict=True)] for rows in both(task))
    tags_of: dict[str, Counter[str]] = defaultdict(Counter)
    for word, tag in train:
        tags_of[word][tag] += 1
    given = [tags_of[word].most_common(1)[0][0] for word, _ in test]
    right = [tag for _, tag in test]
    assert f1_score(right, given, labels=sorted(set(right) - {"O"}), average="micro", zero_division=0) < 0.65


def test_shared_words_do_not_rank_the_documents():
    queries = defaultdict(list)
    for query, text, document, relevance in rows_of("demo_ranking", "test"):
        queries[query].append((int(relevance), len(words_of(text) & words_of(document))))
    sides = [list(zip(*rows, strict=True)) for rows in queries.values()]
    assert np.mean([ndcg_score([relevance], [shared], k=5) for relevance, shared in sides]) < 0.8


def test_the_part_of_a_passage_that_is_most_like_the_question_does_not_answer_it():
    candidates: dict[str, set[str]] = defaultdict(set)  # of Who, Where, When
    for _, question in questions_of("train"):
        candidates[question["question"].split()[0]] |= {answer["text"] for answer in question["answers"]}
    hits = []
    for passage, question in questions_of("test"):
        wanted, parts = question["question"], re.split(r"\. |, and ", passage)
        like = max(parts, key=lambda part: len(words_of(part) & words_of(wanted)))
        found = [answer for answer in candidates[wanted.split()[0]] if answer in like]
        hits.append(found == [answer["text"] for answer in question["answers"]])
    assert np.mean(hits) < 0.6
