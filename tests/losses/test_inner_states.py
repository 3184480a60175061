"""Losses on inner states of a teacher, against loops in numpy, identities and invariances."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.errors import UserError
from core.types import Features, Spec
from losses import LOSSES

FOUR, SIX = Spec("BD", {"D": 4}), Spec("BD", {"D": 6})
TOKENS, WIDER = Spec("BTD", {"D": 4}), Spec("BTD", {"D": 6})
MAPS, MORE_MAPS = Spec("BATS", {"A": 2}), Spec("BATS", {"A": 3})

OURS, THEIRS = (4, 2, 3, 0), (3, 4, 3, 2)
SHARED = (3, 2, 3, 0)
"""Tokens that both read; of the last row none."""


def build(name: str, *specs: Spec, **conf: Any) -> Any:
    torch.manual_seed(5)
    loss: Any = LOSSES[name]
    return loss.Conf(**conf).build(*specs)


def vectors(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def texts(lengths, size=4, seed=0):
    """B x T x `size` with garbage at padding."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Features(vectors(*mask.shape, size, seed=seed).where(mask[..., None], 1e3), mask)


def maps(lengths, heads=2, seed=0):
    """Attention as an encoder gives it: zeros at padding, no mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    scores = vectors(len(lengths), heads, max(lengths), max(lengths), seed=seed)
    shares = scores.where(mask[:, None, None], -1e9).softmax(-1)
    return Features(shares * mask[:, None, :, None] * mask[:, None, None])


def rotation(size, seed=3):
    return torch.linalg.qr(vectors(size, size, seed=seed))[0]


def kl(p, q):
    return float((p * np.log(p / q)).sum())


def by_token(formula, ours, theirs):
    """The mean over tokens that both read, for each row."""
    return [
        np.mean([formula(ours.values[row, at], theirs.values[row, at]) for at in range(size)]) if size else 0.0
        for row, size in enumerate(SHARED)
    ]


HIDDEN = [
    ("HiddenMSELoss", lambda x, y: float(F.mse_loss(x, y))),
    ("HiddenCosineLoss", lambda x, y: 1 - float(x @ y / x.norm() / y.norm())),
    ("PKDLoss", lambda x, y: float((x / x.norm() - y / y.norm()).square().sum())),
]


@pytest.mark.parametrize(("name", "formula"), HIDDEN)
def test_vectors_of_rows_and_of_tokens_that_both_read_by_hand(name, formula):
    ours, theirs = vectors(5, 4), vectors(5, 4, seed=1)
    expected = np.mean([formula(x, y) for x, y in zip(ours, theirs, strict=True)])
    assert build(name, FOUR, FOUR)(Features(ours), Features(theirs)).item() == pytest.approx(expected, rel=1e-5)
    ours, theirs = texts(OURS), texts(THEIRS, seed=1)
    rows = build(name, TOKENS, TOKENS).rows(ours, theirs)
    np.testing.assert_allclose(rows, by_token(formula, ours, theirs), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["HiddenMSELoss", "NSTLoss"])
def test_states_of_other_pieces_of_text_are_refused(name):
    def counted(lengths):
        return replace(texts(lengths), lengths=torch.tensor(lengths))

    loss = build(name, Spec("BTD", {"D": 4}), Spec("BTD", {"D": 4}))
    assert loss(counted([3, 2, 3]), counted([5, 2, 4])).isfinite()  # the student cuts its texts after three
    assert loss(counted([3, 2]), counted([3, 0])).isfinite()  # the teacher has no answer for the second
    with pytest.raises(UserError, match="reads 4 tokens in a text where the student reads 2"):
        loss(counted([5, 2]), counted([5, 4]))


@pytest.mark.parametrize(("name", "formula"), HIDDEN)
def test_a_projection_leads_to_the_size_of_the_teacher_and_is_learnt(name, formula):
    loss = build(name, TOKENS, WIDER)
    assert [parameter.shape for parameter in loss.parameters()] == [(6, 4), (6,)]
    assert not list(build(name, TOKENS, TOKENS).parameters())
    ours, theirs = texts(OURS), texts(THEIRS, size=6, seed=1)
    moved = Features(loss.projection(ours.values).detach(), ours.mask)
    rows = loss.rows(ours, theirs).detach()
    np.testing.assert_allclose(rows, by_token(formula, moved, theirs), rtol=1e-4, atol=1e-6)
    theirs = Features(ours.values @ vectors(4, 6, seed=2), ours.mask)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss(ours, theirs).backward()
        optimizer.step()
    assert loss(ours, theirs) < 0.1 * rows.mean()


@pytest.mark.parametrize(("name", "formula"), HIDDEN)
def test_vectors_that_do_not_fit_are_refused_with_both_sizes(name, formula):
    loss: Any = LOSSES[name]
    conf = loss.Conf
    with pytest.raises(ValueError, match="the layer gives 4 numbers and the teacher 6. Set projection"):
        conf(projection=False).check(FOUR, SIX)
    with pytest.raises(ValueError, match="expects B x T x D, but the input is B x 4"):
        conf().check(FOUR, WIDER)
    with pytest.raises(ValueError, match="expects B x D or B x T x D, but the input is B x 2 x T x S"):
        conf().check(TOKENS, MAPS)


@pytest.mark.parametrize("name", ["HiddenCosineLoss", "PKDLoss"])
def test_the_length_of_vectors_does_not_count(name):
    ours, theirs, loss = vectors(3, 4), vectors(3, 4, seed=1), build(name, FOUR, FOUR)
    scaled = theirs * torch.tensor([[0.1], [5.0], [2.0]])
    torch.testing.assert_close(loss(Features(ours), Features(scaled)), loss(Features(ours), Features(theirs)))


@pytest.mark.parametrize("name", ["AttentionMSELoss", "AttentionKLLoss"])
@pytest.mark.parametrize("heads", [2, 3])
def test_attention_by_hand_with_the_mean_of_the_heads_where_their_numbers_differ(name, heads):
    lengths = (4, 2, 3)
    ours, theirs = maps(lengths), maps(lengths, heads=heads, seed=1)
    expected = []
    for row, size in enumerate(lengths):
        mine, other = (f.values[row, :, :size, :size].numpy().astype(float) for f in (ours, theirs))
        if heads != 2:
            mine, other = mine.mean(0, keepdims=True), other.mean(0, keepdims=True)
        if name == "AttentionMSELoss":
            expected.append(((mine - other) ** 2).mean())
        else:
            expected.append(
                np.mean([kl(p, q) for p, q in zip(other.reshape(-1, size), mine.reshape(-1, size), strict=True)])
            )
    rows = build(name, MAPS, MORE_MAPS).rows(ours, theirs)
    np.testing.assert_allclose(rows, expected, rtol=1e-4)


def test_attention_among_the_tokens_that_both_read_is_compared_as_shares_of_them():
    ours, theirs = maps((4, 2)), maps((3, 3), seed=1)
    rows = build("AttentionKLLoss", MAPS, MAPS).rows(ours, theirs)
    for row, size in enumerate((3, 2)):
        mine, other = (f.values[row, :, :size, :size].double() for f in (ours, theirs))
        mine, other = (m / m.sum(-1, keepdim=True) for m in (mine, other))
        assert rows[row].item() == pytest.approx((other * (other / mine).log()).sum(-1).mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["AttentionMSELoss", "AttentionKLLoss"])
def test_what_the_mask_of_attention_leaves_out_does_not_count(name):
    ours, theirs, loss = maps((4, 2)), maps((4, 2), seed=1), build(name, MAPS, MAPS)
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    zeroed = theirs.values * (mask[:, None, :, None] & mask[:, None, None])
    torch.testing.assert_close(loss(ours, Features(theirs.values, mask)), loss(ours, Features(zeroed)))


def test_attention_that_dropout_made_zero_has_a_finite_loss_and_gradient():
    ours, theirs = maps((4, 2)), maps((4, 2), seed=1)
    dropped = (F.dropout(ours.values, 0.5) * 1.0).requires_grad_()
    loss = build("AttentionKLLoss", MAPS, MAPS)(Features(dropped), theirs)
    loss.backward()
    assert torch.isfinite(loss) and dropped.grad is not None and torch.isfinite(dropped.grad).all()


def relations(states, heads):
    """softmax(H H' / sqrt(d)) of one text in each head."""
    parts = np.split(states.numpy().astype(float), heads, axis=1)
    powers = [np.exp(part @ part.T / np.sqrt(part.shape[1])) for part in parts]
    return [power / power.sum(1, keepdims=True) for power in powers]


def test_relations_of_states_by_hand():
    ours, theirs = texts(OURS), texts(THEIRS, size=6, seed=1)
    expected = []
    for row, size in enumerate(SHARED):
        pairs = zip(*(relations(f.values[row, :size], 2) for f in (theirs, ours)), strict=True)
        each = [kl(p[at], q[at]) for p, q in pairs for at in range(size)]
        expected.append(np.mean(each) if each else 0)
    rows = build("MiniLMv2Loss", TOKENS, WIDER, relation_heads=2).rows(ours, theirs)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)


def test_minilm_adds_the_relations_of_states_to_the_kl_of_attention():
    pair, states = (maps((4, 2)), maps((4, 2), seed=1)), (texts((4, 2)), texts((4, 2), size=6, seed=1))
    whole = build("MiniLMLoss", MAPS, MAPS, TOKENS, WIDER, relation_heads=2).rows(*pair, *states)
    attention = build("AttentionKLLoss", MAPS, MAPS).rows(*pair)
    related = build("MiniLMv2Loss", TOKENS, WIDER, relation_heads=2).rows(*states)
    torch.testing.assert_close(whole, attention + related)


def test_states_that_cannot_be_split_are_refused():
    for name, specs in (("MiniLMv2Loss", (TOKENS, WIDER)), ("MiniLMLoss", (MAPS, MAPS, TOKENS, WIDER))):
        loss: Any = LOSSES[name]
        conf = loss.Conf
        with pytest.raises(ValueError, match="cannot split the teacher's 6 features into 4 relation_heads"):
            conf(relation_heads=4).check(*specs)
        with pytest.raises(ValueError, match="cannot split the layer's 4 features into 3 relation_heads"):
            conf(relation_heads=3).check(*specs)


def test_neuron_selectivity_is_the_squared_maximum_mean_discrepancy():
    ours, theirs = texts(OURS), texts(THEIRS, size=6, seed=1)
    expected = []
    for row, size in enumerate(SHARED):
        mine, other = (f.values[row, :size].T.double() for f in (ours, theirs))
        mine, other = (F.normalize(features, dim=1).numpy() for features in (mine, other))

        def kernel(first, second):
            return np.mean([(x @ y) ** 2 for x in first for y in second])

        expected.append(kernel(other, other) + kernel(mine, mine) - 2 * kernel(other, mine))
    rows = build("NSTLoss", TOKENS, WIDER).rows(ours, theirs)
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)


def test_the_order_of_the_features_does_not_matter_to_neuron_selectivity():
    ours, loss = texts(OURS), build("NSTLoss", TOKENS, TOKENS)
    moved = Features(ours.values[..., [2, 0, 3, 1]], ours.mask)
    assert loss(ours, moved).item() == pytest.approx(0, abs=1e-6)


def test_the_way_between_two_layers_by_hand():
    inputs = texts(OURS), texts(THEIRS, seed=1), texts(OURS, size=6, seed=2), texts(THEIRS, size=6, seed=3)
    expected = []
    for row, size in enumerate(SHARED):
        ours, theirs, ours_end, theirs_end = (f.values[row, :size].numpy().astype(float) for f in inputs)
        ways = [np.einsum("ti,tj->ij", *layers) for layers in ((ours, ours_end), (theirs, theirs_end))]
        expected.append(((ways[0] - ways[1]) ** 2).mean() / size**2 if size else 0)
    loss = build("GramLoss", TOKENS, TOKENS, WIDER, WIDER)
    np.testing.assert_allclose(loss.rows(*inputs), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="one size, but the layer gives B x T x 4 and the teacher B x T x 6"):
        loss.conf.check(TOKENS, TOKENS, TOKENS, WIDER)


def huber(x, y):
    return (x - y) ** 2 / 2 if abs(x - y) < 1 else abs(x - y) - 0.5


def test_distances_and_angles_of_rows_by_loops():
    ours, theirs = vectors(5, 4) * 3, vectors(5, 6, seed=1) ** 3
    x, y = ours.double().numpy(), theirs.double().numpy()
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    apart = [{(i, j): np.linalg.norm(z[i] - z[j]) for i, j in pairs} for z in (x, y)]
    means = [np.mean(list(lengths.values())) for lengths in apart]
    distance = np.mean([huber(apart[0][pair] / means[0], apart[1][pair] / means[1]) for pair in pairs])

    def cosine(z, i, j, k):
        return (z[i] - z[j]) @ (z[k] - z[j]) / np.linalg.norm(z[i] - z[j]) / np.linalg.norm(z[k] - z[j])

    triples = [(i, j, k) for i, j in pairs for k in range(5) if k not in (i, j)]
    angle = np.mean([huber(cosine(x, *three), cosine(y, *three)) for three in triples])
    loss = build("RKDLoss", FOUR, SIX, distance=0.5, angle=3.0)
    assert loss(Features(ours), Features(theirs)).item() == pytest.approx(0.5 * distance + 3 * angle, rel=1e-4)


@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-5])
def test_rows_in_one_place_have_no_angle_and_no_large_gradient(apart):
    ours, theirs = vectors(6, 4), Features(vectors(6, 6, seed=1))
    loss = build("RKDLoss", FOUR, SIX)
    usual = ours.clone().requires_grad_()
    loss(Features(usual), theirs).backward()
    ours[3] = ours[1] + apart
    ours.requires_grad_()
    loss(Features(ours), theirs).backward()
    assert usual.grad is not None and ours.grad is not None
    assert ours.grad.norm() < 10 * usual.grad.norm()


def test_similarities_of_rows_by_hand():
    ours, theirs = vectors(5, 4), vectors(5, 6, seed=1)
    x, y = ((z @ z.T).numpy().astype(float) for z in (ours, theirs))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    got = build("SimilarityLoss", FOUR, SIX)(Features(ours), Features(theirs))
    assert got.item() == pytest.approx(((x - y) ** 2).sum() / 25, rel=1e-4)


def test_the_contrast_is_cross_entropy_of_cosines():
    ours, theirs = vectors(5, 4), vectors(5, 6, seed=1)
    loss = build("ContrastiveLoss", FOUR, SIX, temperature=0.2)
    moved = loss.projection(ours)
    cosines = F.cosine_similarity(moved[:, None], theirs, dim=-1)
    expected = nn.CrossEntropyLoss()(cosines / 0.2, torch.arange(5))
    torch.testing.assert_close(loss(Features(ours), Features(theirs)), expected)


@pytest.mark.parametrize("name", ["RKDLoss", "SimilarityLoss", "ContrastiveLoss"])
def test_a_text_counts_among_the_rows_by_the_mean_of_its_own_tokens(name):
    ours, theirs = texts((4, 2, 3, 1)), texts((3, 4, 1, 2), size=6, seed=1)
    means = [
        Features(torch.stack([f.values[row, : int(size)].mean(0) for row, size in enumerate(f.mask.sum(1))]))
        for f in (ours, theirs)
    ]
    torch.testing.assert_close(build(name, TOKENS, WIDER)(ours, theirs), build(name, FOUR, SIX)(*means))


TURNS = {
    "RKDLoss": lambda z: 3 * z @ rotation(4) + vectors(4, seed=4),
    "SimilarityLoss": lambda z: 3 * z @ rotation(4),
    "MiniLMv2Loss": lambda z: z @ rotation(4),
}


@pytest.mark.parametrize(("name", "turn"), TURNS.items())
def test_what_turns_all_vectors_alike_does_not_change_how_they_are_related(name, turn):
    conf = {"relation_heads": 1} if name == "MiniLMv2Loss" else {}
    spec = TOKENS if conf else FOUR
    ours, theirs = (vectors(3, 5, 4, seed=seed) if conf else vectors(5, 4, seed=seed) for seed in (0, 1))
    loss = build(name, spec, spec, **conf)
    assert loss(Features(ours), Features(turn(ours))).item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(loss(Features(turn(ours)), Features(theirs)), loss(Features(ours), Features(theirs)))


SAME = [
    *(
        (name, (FOUR, FOUR), {})
        for name in ("HiddenMSELoss", "HiddenCosineLoss", "PKDLoss", "RKDLoss", "SimilarityLoss")
    ),
    *((name, (TOKENS, TOKENS), {}) for name in ("HiddenMSELoss", "HiddenCosineLoss", "PKDLoss", "NSTLoss")),
    *((name, (MAPS, MAPS), {}) for name in ("AttentionMSELoss", "AttentionKLLoss")),
    ("GramLoss", (TOKENS, TOKENS, TOKENS, TOKENS), {}),
    ("MiniLMv2Loss", (TOKENS, TOKENS), {"relation_heads": 2}),
    ("MiniLMLoss", (MAPS, MAPS, TOKENS, TOKENS), {"relation_heads": 2}),
]


@pytest.mark.parametrize(("name", "specs", "conf"), SAME)
def test_nothing_is_to_be_learnt_from_oneself(name, specs, conf):
    kinds = {"BD": Features(vectors(4, 4)), "BTD": texts((4, 2, 3, 1)), "BATS": maps((4, 2, 3, 1))}
    inputs = [kinds[spec.axes] for spec in specs]
    values = {spec.axes: kinds[spec.axes].values.requires_grad_() for spec in specs}
    loss = build(name, *specs, **conf)(*inputs)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(torch.isfinite(leaf.grad).all() for leaf in values.values())
