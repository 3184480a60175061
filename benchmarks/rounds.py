"""Works measured in turn, round after round, and their ratios within a round: a machine changes speed by the minute."""

import argparse
import gc
import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def add_round_arguments(parser: argparse.ArgumentParser, clock: str = "wall") -> None:
    """--rounds and --clock."""
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds, after one to warm up")
    parser.add_argument("--clock", choices=CLOCKS, default=clock, help="processor: time that the process computed")


def rounds(options: argparse.Namespace, works: Mapping[Name, Callable[[], object]]) -> dict[Name, list[float]]:
    """Seconds of each work in each round, without the first round."""
    clock = CLOCKS[options.clock]
    times: dict[Name, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds + 1):
        for name, work in works.items():
            gc.collect()
            start = clock()
            work()
            times[name].append(clock() - start)
    return {name: values[1:] for name, values in times.items()}


def ratios(times: Mapping[Name, list[float]], own: Name, other: Name) -> list[float]:
    """How many times faster `own` was than `other`, in each round."""
    return [theirs / ours for ours, theirs in zip(times[own], times[other], strict=True)]


def spread(values: list[float], shown: str) -> str:
    """The median, and the lowest to the highest."""
    return f"{median(values):{shown}} ({min(values):{shown}} to {max(values):{shown}})"
