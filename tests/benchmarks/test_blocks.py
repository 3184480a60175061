"""The benchmark of the blocks knows inputs for every one of them."""

from argparse import Namespace

import pytest

from benchmarks.blocks import Trial
from block_zoo import BLOCKS, CHAR_EMBEDDINGS


@pytest.mark.parametrize("name", [*BLOCKS, *CHAR_EMBEDDINGS])
def test_every_block_is_measured(name):
    trial = Trial(name, Namespace(rows=2, tokens=4, dim=16))
    trial.step()
    trial.step()
    assert trial.microseconds > 0
