"""Dropout on a CPU."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine import quick_dropout
from engine.experiment import load_experiment
from engine.quick_dropout import QuickDropout
from engine.training import train


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1e-9, 1 - 1e-9])
def test_a_share_of_the_numbers_is_dropped_and_the_mean_stays(p):
    torch.manual_seed(1)
    ones = torch.ones(1001, 333, requires_grad=True)
    with QuickDropout():
        found = nn.Dropout(p)(ones)
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=2e-3)
    if p < 0.99:
        assert found.mean().item() == pytest.approx(1, abs=1e-2)
        assert len(found.unique()) <= 2
    (gradient,) = torch.autograd.grad(found.sum(), ones)
    assert torch.equal(gradient, found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_numbers_keep_their_precision(dtype):
    with QuickDropout():
        found = F.dropout(torch.ones(1000, dtype=dtype), 0.5)
    assert found.dtype == dtype
    assert found.unique().tolist() == [0, 2]


def test_neighbours_are_dropped_independently_of_each_other():
    torch.manual_seed(2)
    with QuickDropout():
        kept = (F.dropout(torch.ones(400_000), 0.3) > 0).float()
    apart = [torch.corrcoef(torch.stack([kept[:-lag], kept[lag:]]))[0, 1].abs().item() for lag in (1, 2, 3, 4, 8)]
    assert max(apart) < 0.01


def test_the_seed_decides_what_is_dropped():
    def found(seed):
        torch.manual_seed(seed)
        with QuickDropout():
            return F.dropout(torch.ones(1000), 0.5)

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))


def test_nothing_is_dropped_where_nobody_trains():
    values = torch.randn(5, 3)
    with QuickDropout():
        assert F.dropout(values, 0.5, training=False) is values
        assert torch.equal(nn.Dropout(0.5).eval()(values), values)
        assert not F.dropout(values, 1.0).any()
        assert F.dropout(values, 0.5, inplace=True) is values


@pytest.mark.parametrize("kind", ["none", "bool", "added"])
def test_attention_is_that_of_torch_but_for_its_draws(kind, monkeypatch):
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 2, 4, 5, 6).unbind(0)
    allowed = torch.rand(2, 1, 5, 5) > 0.3
    allowed[..., 0] = True
    mask = {"none": None, "bool": allowed, "added": torch.zeros(2, 1, 5, 5).masked_fill(~allowed, -1e9)}[kind]
    drawn = []

    def noted(values, p):
        drawn.append(p)
        return values

    monkeypatch.setattr(quick_dropout, "dropout", noted)
    with QuickDropout():
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=0.2, scale=0.5)
    assert drawn == [0.2]
    assert torch.allclose(
        found, F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.5), atol=1e-6
    )


def test_a_query_that_may_attend_to_nothing_has_numbers():
    query = torch.randn(1, 1, 2, 4)
    with QuickDropout():
        found = F.scaled_dot_product_attention(
            query, query, query, torch.zeros(1, 1, 2, 2, dtype=torch.bool), dropout_p=0.5
        )
    assert found.isfinite().all()


def test_a_training_drops_by_it_on_a_cpu(task, monkeypatch):
    rates, own = set(), quick_dropout.dropout

    def noted(values, p, training, inplace):
        rates.add(p)
        return own(values, p, training, inplace)

    monkeypatch.setattr(quick_dropout, "dropout", noted)
    train(load_experiment(task.path, ["training_params.max_epoch=1", "training_params.device=cpu"]), print)
    assert 0.2 in rates
