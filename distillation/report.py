"""What teachers are worth before anybody learns from them: calibration, best temperature, agreement, bounds."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
"""Bins of confidence in the calibration error."""
TEMPERATURES = (0.05, 20.0)
"""The lowest and the highest temperature that are tried."""


def calibration_error(logits_NC: np.ndarray, target_N: np.ndarray) -> float:
    """How far confidence and accuracy are apart, on average over bins of confidence.

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    probabilities_NC = softmax(logits_NC, axis=1)
    confidence_N, right_N = probabilities_NC.max(1), probabilities_NC.argmax(1) == target_N
    bin_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    gaps_B = np.bincount(bin_N, right_N - confidence_N, BINS)
    return float(np.abs(gaps_B).sum() / len(target_N))


def log_loss(logits_NC: np.ndarray, target_N: np.ndarray, temperature: float = 1.0) -> float:
    """The mean cross-entropy at a temperature."""
    logs_NC = log_softmax(logits_NC / temperature, axis=1)
    return float(-logs_NC[np.arange(len(target_N)), target_N].mean())


def best_temperature(logits_NC: np.ndarray, target_N: np.ndarray) -> float:
    """The temperature of `TEMPERATURES` and between at which the cross-entropy is least.

    Reference: Guo et al. 2017, section 4.2.
    """

    def loss(temperature: float) -> float:
        return log_loss(logits_NC, target_N, temperature)

    found = minimize_scalar(lambda power: loss(math.exp(power)), bounds=np.log(TEMPERATURES), method="bounded")
    return min((math.exp(found.x), *TEMPERATURES), key=loss)


def agreement(first_N: np.ndarray, second_N: np.ndarray, are_numbers: bool) -> float:
    """The share of equal answers; of numbers Pearson's correlation."""
    if are_numbers:
        return float(np.corrcoef(first_N, second_N)[0, 1])
    return float((first_N == second_N).mean())
