"""What a report says of teachers."""

import numpy as np
import pytest

from distillation import report


@pytest.mark.parametrize(("scale", "temperature"), [(1, 1), (3, 3), (0.5, 0.5)])
def test_scores_that_are_too_large_have_a_higher_best_temperature(scale, temperature):
    """Labels drawn by the softmax of logits are told best by it: at the temperature that undoes a factor."""
    random = np.random.default_rng(1)
    logits_NC = random.normal(size=(20000, 3))
    target_N = (logits_NC + random.gumbel(size=logits_NC.shape)).argmax(1)
    assert report.best_temperature(logits_NC * scale, target_N) == pytest.approx(temperature, rel=0.05)


def test_a_teacher_that_is_always_right_has_the_lowest_and_one_that_is_always_wrong_the_highest():
    logits_NC = np.array([[1.0, 0], [0, 1]])
    assert report.best_temperature(logits_NC, np.array([0, 1])) == report.TEMPERATURES[0]
    assert report.best_temperature(logits_NC, np.array([1, 0])) == report.TEMPERATURES[1]
