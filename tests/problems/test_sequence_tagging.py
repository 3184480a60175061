"""Tags of words: encoded beside their words, decoded, scored, and back in the scheme of the files."""

import numpy as np
import pytest
import torch
from problem_of import problem_of

from core.errors import UserError
from core.types import Features, Row
from problems import SequenceTagging
from text.ragged import Ragged


def rows(*pairs):
    return [Row(at + 2, {"text": words, "tags": tags}) for at, (words, tags) in enumerate(pairs)]


def fitted(*pairs, **conf):
    problem = problem_of(SequenceTagging, "tags", **conf)
    arrays, errors = problem.encode(rows(*pairs), growing=True)
    remap = problem.finish()["tags"]
    return problem, arrays["tags"].with_values(remap[arrays["tags"].values]), errors


def scores_of(problem, ids, sure=9.0):
    """The output of a model that gives these tags."""
    size, count = int(ids.lengths.max()), len(problem.labels)
    values = torch.zeros(len(ids), size, count)
    for row in range(len(ids)):
        for at, tag in enumerate(ids.taken(np.array([row])).values):
            values[row, at, tag] = sure
    lengths = torch.from_numpy(ids.lengths)
    return Features(values, torch.arange(size) < lengths[:, None], lengths)


def test_each_word_has_its_label_and_frequent_labels_come_first():
    problem, ids, errors = fitted(("EU rejects call", "B-ORG O O"), ("in Bonn", "O B-LOC"))
    assert errors == ["", ""] and problem.labels == ("O", "B-ORG", "B-LOC")
    assert ids.values.tolist() == [1, 0, 0, 0, 2] and ids.lengths.tolist() == [3, 2]
    assert problem.metric_labels == ("LOC", "ORG") and problem.num_targets == 3


def test_rows_that_do_not_fit_are_errors_with_their_reason():
    _, ids, errors = fitted(("a b", "O O"), ("a b c", "O O"), ("a", ""), ("a", "B-X"))
    assert errors == ["", "column tags has 2 tags for 3 words.", "column tags has 0 tags for 1 words.", ""]
    assert ids.lengths.tolist() == [2, 0, 0, 1]


def test_unknown_labels_after_fitting():
    problem, _, _ = fitted(("a b", "O B-PER"))
    _, errors = problem.encode(rows(("a b", "O B-PRE")), growing=False)
    assert errors == ["unknown label 'B-PRE' in column tags. Did you mean 'B-PER'?"]


def test_tags_that_break_the_scheme_of_the_files():
    texts = (("a b", "O I-X"), ("a b", "I-X I-X"), ("a b", "B-X I-X"), ("a b", "O NN"))
    _, _, errors = fitted(*texts, tagging_scheme="BIO")
    assert errors == [
        "tag 'I-X' after 'O' is no BIO.",
        "tag 'I-X' at the start is no BIO.",
        "",
        "tag 'NN' after 'O' is no BIO.",
    ]
    assert fitted(*texts)[2] == [""] * 4


def test_a_scheme_of_its_own_is_learned_and_that_of_the_files_predicted():
    pairs = (("a b c", "B-X I-X B-X"), ("d e", "O B-Y"))
    problem, ids, _ = fitted(*pairs, tagging_scheme="BIO", learned_tagging_scheme="BIOES")
    assert set(problem.labels) == {"B-X", "E-X", "S-X", "O", "S-Y"}
    decoded = problem.decode({"tags": scores_of(problem, ids)})
    answers = problem.predictions(rows(*pairs), decoded)
    assert [answer.cells["prediction"] for answer in answers] == ["B-X I-X B-X", "O B-Y"]
    assert problem.score(["f1", "f1@X", "accuracy", "sentence_accuracy"], decoded, {"tags": ids}) == {
        "f1": 1.0, "f1@X": 1.0, "accuracy": 1.0, "sentence_accuracy": 1.0,
    }  # fmt: skip


def test_learning_another_scheme_needs_that_of_the_files():
    with pytest.raises(ValueError, match="learned_tagging_scheme needs tagging_scheme"):
        SequenceTagging.Conf(learned_tagging_scheme="BIOES")


def test_padding_is_not_decoded_and_batches_join():
    problem, ids, _ = fitted(("a b c", "B-X O O"), ("d", "O"), ("e f", "O B-X"))
    whole = problem.decode({"tags": scores_of(problem, ids)})
    parts = [problem.decode({"tags": scores_of(problem, ids.taken(np.array(part)))}) for part in ([1], [2, 0])]
    joined = type(whole).concatenate(parts).taken(np.array([2, 0, 1]))
    assert joined.tags.values.tolist() == whole.tags.values.tolist() == ids.values.tolist()
    assert joined.tags.lengths.tolist() == [3, 1, 2]


def test_a_crf_is_decoded_by_its_best_path():
    problem, ids, _ = fitted(("a b", "B-X I-X"))
    output = scores_of(problem, ids, sure=0.1)
    never = torch.zeros(2, 2)
    never[ids.values[0], ids.values[1]] = -100.0
    chain = Features(
        output.values,
        output.mask,
        output.lengths,
        {"transitions": never, "start": torch.zeros(2), "end": torch.zeros(2)},
    )
    assert problem.decode({"tags": chain}).tags.values.tolist() != ids.values.tolist()
    assert problem.decode({"tags": output}).tags.values.tolist() == ids.values.tolist()


def test_train_without_tags_is_refused():
    problem = problem_of(SequenceTagging, "tags")
    problem.encode(rows(("a", "")), growing=True)
    with pytest.raises(UserError, match="needs 1 or more labels in train, but has none"):
        problem.finish()


def test_the_state_restores_the_labels():
    problem, ids, _ = fitted(("a b", "O B-X"))
    again = problem_of(SequenceTagging, "tags")
    again.restore(problem.state())
    assert again.labels == problem.labels and again.num_targets == 2
    assert isinstance(ids, Ragged)
