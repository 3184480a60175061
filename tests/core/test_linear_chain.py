"""The chain against enumeration of all paths and against pytorch-crf."""

import itertools

import pytest
import torch
from torchcrf import CRF

from core.linear_chain import Chain, best_path, expected_score, log_partition, marginals, path_score

LENGTHS = (4, 2, 0, 1, 3)


def chain(tags=3, scale=1.0, seed=0, lengths=LENGTHS):
    torch.manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    sizes = ((len(lengths), max(lengths), tags), (tags, tags), (tags,), (tags,))
    emissions, transitions, start, end = ((torch.randn(size) * scale).requires_grad_() for size in sizes)
    return Chain(emissions, mask, transitions, start, end)


def paths(chain, row):
    """(tags, score) of every path of a text, by the definition."""
    length = int(chain.mask[row].sum())
    for path in itertools.product(range(len(chain.start)), repeat=length):
        score = torch.zeros(())
        if length:
            score = chain.start[path[0]] + chain.end[path[-1]]
            score = score + sum(chain.emissions[row, at, tag] for at, tag in enumerate(path))
            score = score + sum(chain.transitions[a, b] for a, b in itertools.pairwise(path))
        yield path, score


def theirs(chain):
    crf = CRF(len(chain.start), batch_first=True)
    for name, tensor in (
        ("transitions", chain.transitions),
        ("start_transitions", chain.start),
        ("end_transitions", chain.end),
    ):
        getattr(crf, name).data = tensor.detach().clone()
    return crf


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_partition_best_path_and_marginals_are_those_of_all_paths(scale):
    ours = chain(scale=scale)
    log_z, best, shares = log_partition(ours), best_path(ours), marginals(ours)
    for row, length in enumerate(LENGTHS):
        every = list(paths(ours, row))
        scores = torch.stack([score for _, score in every]).detach()
        torch.testing.assert_close(log_z[row].detach(), scores.logsumexp(0), rtol=1e-5, atol=1e-4)
        assert tuple(best[row, :length].tolist()) == every[int(scores.argmax())][0]
        expected = torch.zeros_like(shares[row])
        for (path, _), share in zip(every, scores.softmax(0), strict=True):
            for at, tag in enumerate(path):
                expected[at, tag] += share
        torch.testing.assert_close(shares[row], expected, rtol=1e-4, atol=1e-5)


def test_the_score_of_a_path_is_the_sum_of_its_parts():
    ours = chain()
    tags = torch.full((len(LENGTHS), 4), -100)
    for row, length in enumerate(LENGTHS):
        tags[row, :length] = torch.randint(3, (length,))
    scores = path_score(ours, tags)
    for row, length in enumerate(LENGTHS):
        expected = dict(paths(ours, row))[tuple(tags[row, :length].tolist())]
        torch.testing.assert_close(scores[row], expected)


def test_the_expected_score_is_the_mean_over_all_paths_that_independent_tags_draw():
    ours = chain()
    shares = torch.randn(len(LENGTHS), 4, 3).softmax(-1)
    expected = [
        sum(shares[row, range(len(path)), path].prod() * score for path, score in paths(ours, row))
        for row in range(len(LENGTHS))
    ]
    torch.testing.assert_close(expected_score(ours, shares), torch.stack(expected))


def test_a_divided_chain_has_divided_scores():
    ours, tags = chain(), torch.zeros(len(LENGTHS), 4, dtype=torch.int64)
    torch.testing.assert_close(path_score(ours.divided(4.0), tags), path_score(ours, tags) / 4)


def test_likelihood_gradients_and_best_path_are_those_of_pytorch_crf():
    ours = chain(tags=7, seed=1, lengths=(6, 3, 1, 5))
    crf, tags = theirs(ours), torch.randint(7, (4, 6))
    emissions = ours.emissions.detach().clone().requires_grad_()
    expected = crf(emissions, tags, ours.mask, reduction="none")
    came = path_score(ours, tags) - log_partition(ours)
    torch.testing.assert_close(came, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(4)
    (came * weights).sum().backward()
    (expected * weights).sum().backward()
    pairs = {ours.emissions: emissions, ours.transitions: crf.transitions}
    pairs |= {ours.start: crf.start_transitions, ours.end: crf.end_transitions}
    for mine, other in pairs.items():
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)
    best = best_path(ours)
    assert [best[row, :length].tolist() for row, length in enumerate((6, 3, 1, 5))] == crf.decode(emissions, ours.mask)


def test_the_gradient_is_that_of_finite_differences():
    ours = chain(tags=2, lengths=(3, 1, 2))
    parts = [
        part.detach().double().requires_grad_() for part in (ours.emissions, ours.transitions, ours.start, ours.end)
    ]

    def summed(emissions, *others):
        return log_partition(Chain(emissions, ours.mask, *others)).double()

    torch.autograd.gradcheck(summed, parts, eps=1e-2, atol=1e-3)


def test_huge_scores_stay_finite():
    ours = chain(scale=200.0, seed=3)
    log_z = log_partition(ours)
    log_z.sum().backward()
    assert torch.isfinite(log_z).all() and torch.isfinite(ours.emissions.grad).all()


def test_padding_changes_nothing():
    ours = chain()
    wider = torch.nn.functional.pad(ours.emissions.detach(), (0, 0, 0, 3), value=50.0)
    mask = torch.nn.functional.pad(ours.mask, (0, 3))
    more = Chain(wider, mask, ours.transitions, ours.start, ours.end)
    torch.testing.assert_close(log_partition(more), log_partition(ours))
    assert torch.equal(best_path(more)[:, :4], best_path(ours))
