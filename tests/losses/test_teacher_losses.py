"""Losses on the answers of a teacher, against loops in numpy, enumeration, limits and identities."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from core.types import Features, Spec
from losses import LOSSES

ONE, TWO, THREE = (Spec("BD", {"D": size}) for size in (1, 2, 3))
TOKENS = Spec("BTD", {"D": 3})
LABELS = Spec("BD", {"D": 3}, labels=("a", "b", "c"))
TWO_LABELS = Spec("BD", {"D": 2}, labels=("no", "yes"))
SINGLE = Spec("BD", {"D": 1}, labels=("no", "yes"))
SETS = Spec("BC", {"C": 3}, labels=("a", "b", "c"))
TAGS = Spec("BTD", {"D": 3}, labels=("a", "b", "c"))
PLACES = Spec("BT", places=True)
NUMBER = Spec("B")
CRF = Spec("BTD", {"D": 3}, parts={"transitions": Spec("CC"), "start": Spec("C"), "end": Spec("C")})

ANSWER_LOSSES = ["LogitCosineLoss", "LogitMSELoss", "ScoreMSELoss", "SoftTargetLoss"]


def build(name: str, *specs: Spec, **conf: Any) -> Any:
    loss: Any = LOSSES[name]
    return loss.Conf(**conf).build(*specs)


def scores(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 2


def texts(lengths, size=3, seed=0, tokens=None):
    """B x T x `size`, or B x T for no size, with garbage at padding."""
    mask = torch.arange(tokens or max(lengths)) < torch.tensor(lengths)[:, None]
    values = scores(*mask.shape, *([size] if size else []), seed=seed)
    real = mask[..., None] if size else mask
    return Features(values.where(real, 1e3), mask)


def softmax(logits):
    powers = np.exp(np.asarray(logits, dtype=float) - np.max(logits))
    return powers / powers.sum()


def divergence(ours, theirs, kind="kl", temperature=1.0):
    """Between two lists of logits, by the definition."""
    q, p = (softmax(np.asarray(logits, dtype=float) / temperature) for logits in (ours, theirs))
    if kind == "ce":
        return -(p * np.log(q)).sum()
    if kind == "reverse_kl":
        p, q = q, p
    if kind == "js":
        middle = (p + q) / 2
        return ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    return (p * np.log(p / q)).sum()


@pytest.mark.parametrize("kind", ["kl", "ce", "reverse_kl", "js"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_targets_of_labels_by_hand(kind, temperature):
    ours, theirs = scores(4, 3), scores(4, 3, seed=1)
    loss = build("SoftTargetLoss", THREE, LABELS, temperature=temperature, divergence=kind)
    expected = np.mean([divergence(a, b, kind, temperature) for a, b in zip(ours, theirs, strict=True)])
    got = loss(Features(ours), Features(theirs))
    assert got.item() == pytest.approx(expected * temperature**2, rel=1e-4)


def test_soft_targets_of_label_sets_are_those_of_each_label_by_itself():
    ours, theirs = scores(4, 3), scores(4, 3, seed=1)
    pairs = zip(ours.flatten().tolist(), theirs.flatten().tolist(), strict=True)
    expected = np.mean([divergence([0, a], [0, b]) for a, b in pairs])
    got = build("SoftTargetLoss", THREE, SETS)(Features(ours), Features(theirs))
    assert got.item() == pytest.approx(expected, rel=1e-4)


def test_soft_targets_of_tags_count_the_tokens_that_both_read():
    ours, theirs = texts((5, 2, 0, 3)), texts((3, 4, 2, 0), seed=1)
    rows = build("SoftTargetLoss", TOKENS, TAGS).rows(ours, theirs)
    for row, shared in enumerate((3, 2, 0, 0)):
        each = [divergence(ours.values[row, at], theirs.values[row, at]) for at in range(shared)]
        assert rows[row].item() == pytest.approx(np.mean(each) if each else 0, rel=1e-4)
    expected = rows[:3].mean()  # the teacher did not answer the last row
    torch.testing.assert_close(build("SoftTargetLoss", TOKENS, TAGS)(ours, theirs), expected)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 50.0])
def test_soft_targets_of_places_share_their_probability_among_the_tokens_that_both_read(temperature):
    ours, theirs = texts((5, 2, 3), size=0), texts((3, 4, 0), size=0, seed=1)
    loss = build("SoftTargetLoss", Spec("BT"), PLACES, temperature=temperature, temperature_squared=False)
    each = [
        divergence(ours.values[row, :shared], theirs.values[row, :shared], temperature=temperature)
        for row, shared in enumerate((3, 2))
    ]
    assert loss(ours, theirs).item() == pytest.approx(np.mean(each), rel=1e-3)
    in_vectors = Features(ours.values[..., None], ours.mask)
    assert loss(in_vectors, theirs).item() == pytest.approx(np.mean(each), rel=1e-3)


@pytest.mark.parametrize("name", ["SoftTargetLoss", "ScoreMSELoss"])
def test_a_single_score_is_that_of_the_second_of_two_labels(name):
    ours, theirs = scores(5, 1), scores(5, 1, seed=1)
    ours_of_two, theirs_of_two = (torch.cat([torch.full((5, 1), 7.0), 7 + z], 1) for z in (ours, theirs))
    expected = build(name, TWO, TWO_LABELS)(Features(ours_of_two), Features(theirs_of_two))
    for student, teacher, values in (
        (ONE, TWO_LABELS, (ours, theirs_of_two)),
        (TWO, SINGLE, (ours_of_two, theirs)),
        (ONE, SINGLE, (ours, theirs)),
        (Spec("B"), SINGLE, (ours[:, 0], theirs)),
    ):
        torch.testing.assert_close(build(name, student, teacher)(*map(Features, values)), expected)


@pytest.mark.parametrize("name", ANSWER_LOSSES)
def test_rows_without_an_answer_do_not_count_and_learn_nothing(name):
    ours, theirs = scores(5, 3).requires_grad_(), scores(5, 3, seed=1)
    present = torch.tensor([True, False, True, True, False])
    loss = build(name, THREE, LABELS)
    got = loss(Features(ours), Features(theirs, present))
    torch.testing.assert_close(got, loss(Features(ours[present]), Features(theirs[present])))
    got.backward()
    assert ours.grad is not None and torch.equal(ours.grad.abs().sum(1) > 0, present)
    assert loss(Features(ours), Features(theirs, torch.zeros(5, dtype=torch.bool))) == 0


def test_kl_and_cross_entropy_have_one_gradient_and_differ_by_the_teachers_entropy():
    theirs, found = scores(4, 3, seed=1), {}
    for kind in ("kl", "ce"):
        ours = scores(4, 3).requires_grad_()
        loss = build("SoftTargetLoss", THREE, LABELS, divergence=kind)(Features(ours), Features(theirs))
        loss.backward()
        found[kind] = loss.detach(), ours.grad
    entropy = torch.distributions.Categorical(logits=theirs).entropy().mean()
    torch.testing.assert_close(found["ce"][0] - found["kl"][0], entropy)
    torch.testing.assert_close(found["ce"][1], found["kl"][1])


@pytest.mark.parametrize("temperature", [100.0, 1000.0])
def test_at_high_temperatures_the_gradient_is_that_of_centred_logits_whatever_the_temperature(temperature):
    """Hinton et al. 2015, equation 4, times the square of the temperature."""
    ours, theirs = scores(4, 3).requires_grad_(), scores(4, 3, seed=1)
    loss = build("SoftTargetLoss", THREE, LABELS, temperature=temperature)
    loss(Features(ours), Features(theirs)).backward()
    apart = ours.detach() - theirs
    expected = (apart - apart.mean(1, keepdim=True)) / 3 / 4
    torch.testing.assert_close(ours.grad, expected, rtol=0.1, atol=5e-3)


def test_without_its_square_the_temperature_makes_the_loss_smaller():
    pair = Features(scores(4, 3)), Features(scores(4, 3, seed=1))
    squared, plain = (
        build("SoftTargetLoss", THREE, LABELS, temperature=3.0, temperature_squared=squared)(*pair)
        for squared in (True, False)
    )
    torch.testing.assert_close(squared, plain * 9)


def test_js_is_symmetric_and_below_log_2_and_reverse_kl_is_kl_with_the_two_exchanged():
    ours, theirs = Features(scores(4, 3) * 20), Features(scores(4, 3, seed=1))
    js, kl, reverse = (build("SoftTargetLoss", THREE, LABELS, divergence=kind) for kind in ("js", "kl", "reverse_kl"))
    torch.testing.assert_close(js(ours, theirs), js(theirs, ours))
    assert 0 < js(ours, theirs) < math.log(2)
    torch.testing.assert_close(reverse(ours, theirs), kl(theirs, ours))


@pytest.mark.parametrize("name", ANSWER_LOSSES)
def test_standardised_scores_count_by_their_form_only(name):
    loss = build(name, THREE, LABELS, standardized=True)
    ours, theirs = scores(4, 3), scores(4, 3, seed=1)
    moved = theirs * torch.tensor([[2.0], [0.1], [30.0], [1.0]]) + torch.tensor([[5.0], [-3.0], [0.0], [9.0]])
    expected = loss(Features(ours), Features(theirs))
    torch.testing.assert_close(loss(Features(ours), Features(moved)), expected)
    plain = build(name, THREE, LABELS)
    by_hand = [(z - z.mean(1, keepdim=True)) / z.std(1, correction=0, keepdim=True) for z in (ours, theirs)]
    torch.testing.assert_close(plain(*map(Features, by_hand)), expected)


@pytest.mark.parametrize("name", ANSWER_LOSSES)
@pytest.mark.parametrize("standardized", [True, False])
@pytest.mark.parametrize("values", [torch.zeros(2, 3), torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 1e4]])])
def test_equal_and_huge_scores_have_a_finite_gradient(name, standardized, values):
    ours = values.clone().requires_grad_()
    loss = build(name, THREE, LABELS, standardized=standardized)(Features(ours), Features(values.flip(1)))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(ours.grad).all()


def potentials(lengths, tokens):
    """What a CRF layer gives: leaves that want a gradient."""
    torch.manual_seed(2)
    mask = torch.arange(tokens) < torch.tensor(lengths)[:, None]
    emissions, transitions, start, end = (
        torch.randn(size).requires_grad_() for size in ((len(lengths), tokens, 3), (3, 3), (3,), (3,))
    )
    parts = {"transitions": transitions, "start": start, "end": end}
    return Features(emissions, mask, parts=parts)


def path_divergence(chain, row, theirs, kind, temperature):
    """Between all paths of a text, as independent tags of the teacher and as the CRF draw them."""
    every = list(itertools.product(range(3), repeat=len(theirs)))
    start, end, moves = (chain.parts[name].detach().numpy() for name in ("start", "end", "transitions"))
    emissions = chain.values[row].detach().numpy()
    logits = [
        start[path[0]]
        + end[path[-1]]
        + sum(emissions[at, tag] for at, tag in enumerate(path))
        + sum(moves[a, b] for a, b in itertools.pairwise(path))
        for path in every
    ]
    shares = [softmax(logits_C / temperature) for logits_C in theirs.numpy()]
    drawn = [math.log(math.prod(shares[at][tag] for at, tag in enumerate(path))) for path in every]
    return divergence(np.array(logits) / temperature, drawn, kind)


@pytest.mark.parametrize("kind", ["kl", "ce"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_crf_learns_the_paths_that_the_teachers_tags_make(kind, temperature):
    ours, theirs = potentials((4, 2, 3, 0), 4), texts((3, 4, 0, 2), seed=1, tokens=5)
    loss = build("SoftTargetLoss", CRF, TAGS, divergence=kind, temperature=temperature)
    rows = loss.rows(ours, theirs)
    for row, shared in enumerate((3, 2)):
        each = path_divergence(ours, row, theirs.values[row, :shared], kind, temperature) / shared
        assert rows[row].item() == pytest.approx(each * temperature**2, rel=1e-4)
    assert (rows[2:] == 0).all()
    loss(ours, theirs).backward()
    leaves = [ours.values, *ours.parts.values()]
    assert all(torch.isfinite(leaf.grad).all() and (leaf.grad != 0).any() for leaf in leaves)
    assert (ours.values.grad[0, 3:] == 0).all() and (ours.values.grad[2:] == 0).all()


def test_a_crf_that_gives_no_weight_to_moves_is_a_softmax_of_each_token():
    chain, theirs = potentials((4, 2, 3), 4), texts((4, 2, 3), seed=1)
    free = Features(chain.values, chain.mask, parts={name: part * 0 for name, part in chain.parts.items()})
    expected = build("SoftTargetLoss", TOKENS, TAGS)(Features(chain.values, chain.mask), theirs)
    torch.testing.assert_close(build("SoftTargetLoss", CRF, TAGS)(free, theirs), expected)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("LogitMSELoss", lambda x, y: ((x - y) ** 2).mean()),
        ("ScoreMSELoss", lambda x, y: ((softmax(x) - softmax(y)) ** 2).mean()),
        ("LogitCosineLoss", lambda x, y: 1 - (x @ y) / np.linalg.norm(x) / np.linalg.norm(y)),
    ],
)
def test_losses_on_the_difference_of_scores_by_hand(name, formula):
    ours, theirs = scores(4, 3), scores(4, 3, seed=1)
    expected = np.mean([formula(x, y) for x, y in zip(ours.numpy(), theirs.numpy(), strict=True)])
    got = build(name, THREE, LABELS)(Features(ours), Features(theirs))
    assert got.item() == pytest.approx(expected, rel=1e-4)
    ours, theirs = texts((3, 1)), texts((2, 4), seed=1)
    tokens = [(0, 0), (0, 1), (1, 0)]
    first, second, only = (formula(ours.values[at].numpy(), theirs.values[at].numpy()) for at in tokens)
    got = build(name, TOKENS, TAGS)(ours, theirs)
    assert got.item() == pytest.approx(((first + second) / 2 + only) / 2, rel=1e-4)


def test_scores_of_label_sets_by_hand():
    ours, theirs = scores(4, 3), scores(4, 3, seed=1)
    pair = Features(ours), Features(theirs)
    torch.testing.assert_close(build("LogitMSELoss", THREE, SETS)(*pair), (ours - theirs).square().mean())
    apart = (ours.sigmoid() - theirs.sigmoid()).square().mean()
    torch.testing.assert_close(build("ScoreMSELoss", THREE, SETS)(*pair), apart)
    of_rows = build("LogitCosineLoss", THREE, LABELS)(*pair)
    torch.testing.assert_close(build("LogitCosineLoss", THREE, SETS)(*pair), of_rows)


@pytest.mark.parametrize("name", ["LogitMSELoss", "ScoreMSELoss"])
def test_numbers_are_compared_as_they_are(name):
    ours, theirs = scores(4, 1), scores(4, seed=1)
    expected = (ours[:, 0] - theirs).square().mean()
    for teacher, values in ((NUMBER, theirs), (ONE, theirs[:, None])):
        torch.testing.assert_close(build(name, ONE, teacher)(Features(ours), Features(values)), expected)
        of_sigmoid = Features(ours, parts={"logits": 7 * ours})  # the number is what comes out of it
        torch.testing.assert_close(build(name, ONE, teacher)(of_sigmoid, Features(values)), expected)


def test_logits_behind_probabilities_are_used():
    logits, theirs = scores(4, 3), Features(scores(4, 3, seed=1))
    given = Features(logits.softmax(-1), parts={"logits": logits})
    loss = build("SoftTargetLoss", THREE, LABELS)
    torch.testing.assert_close(loss(given, theirs), loss(Features(logits), theirs))


@pytest.mark.parametrize(
    ("name", "student", "teacher", "conf", "sentence"),
    [
        ("SoftTargetLoss", TWO, LABELS, {}, r"needs 3 scores, as the teacher gives \(a, b, c\), but the layer gives 2"),
        ("SoftTargetLoss", TWO, SETS, {}, r"needs 3 scores"),
        ("SoftTargetLoss", TOKENS, LABELS, {}, "expects B x D, but the input is B x T x 3"),
        ("SoftTargetLoss", THREE, TAGS, {}, "expects B x T x D, but the input is B x 3"),
        ("SoftTargetLoss", TOKENS, PLACES, {}, "one score for each token, as the teacher gives, .* B x T x 3"),
        ("SoftTargetLoss", ONE, NUMBER, {}, r"this one gives a number\. Take ScoreMSELoss"),
        ("SoftTargetLoss", CRF, TAGS, {"divergence": "js"}, "of a CRF knows the divergences kl and ce"),
        ("LogitMSELoss", TWO, NUMBER, {}, "needs 1 scores, as the teacher gives, but the layer gives 2"),
        ("LogitMSELoss", Spec("BT"), PLACES, {}, r"answers by places of tokens\. Take SoftTargetLoss"),
        ("SoftTargetLoss", Spec("BT"), PLACES, {"standardized": True}, "is for scores of labels"),
        ("LogitCosineLoss", ONE, TWO_LABELS, {}, "needs several scores"),
        ("LogitCosineLoss", ONE, NUMBER, {}, "needs several scores"),
        ("ScoreMSELoss", ONE, SINGLE, {"standardized": True}, "needs at least three labels"),
        ("ScoreMSELoss", THREE, SETS, {"standardized": True}, "needs at least three labels"),
    ],
)
def test_what_does_not_fit_is_said(name, student, teacher, conf, sentence):
    loss: Any = LOSSES[name]
    with pytest.raises(ValueError, match=sentence):
        loss.Conf(**conf).check(student, teacher)


RIGHT = Spec("B", ids=True, labels=("a", "b", "c"))


def decoupled(ours, theirs, right, alpha, beta, temperature):
    """Of one list of logits, by the paper's two distributions."""
    q, p = (softmax(np.asarray(logits, dtype=float) / temperature) for logits in (ours, theirs))
    of_right = p[right] * np.log(p[right] / q[right]) + (1 - p[right]) * np.log((1 - p[right]) / (1 - q[right]))
    q_wrong, p_wrong = (np.delete(shares, right) / (1 - shares[right]) for shares in (q, p))
    return (alpha * of_right + beta * (p_wrong * np.log(p_wrong / q_wrong)).sum()) * temperature**2


def test_decoupled_distillation_by_hand():
    ours, theirs, right = scores(4, 3), scores(4, 3, seed=1), [2, 0, 1, 1]
    weights = {"alpha": 0.5, "beta": 3.0, "temperature": 2.0}
    expected = np.mean([decoupled(*row, **weights) for row in zip(ours, theirs, right, strict=True)])
    loss = build("DecoupledLoss", THREE, LABELS, RIGHT, **weights)
    assert loss(Features(ours), Features(theirs), torch.tensor(right)).item() == pytest.approx(expected, rel=1e-4)


def test_decoupled_distillation_of_tags_counts_those_that_have_a_target():
    ours, theirs = texts((3, 1)), texts((3, 2), seed=1)
    weights = {"alpha": 1.0, "beta": 2.0, "temperature": 1.0}
    loss = build("DecoupledLoss", TOKENS, TAGS, Spec("BT", ids=True, labels=("a", "b", "c")), **weights)
    rows = loss.rows(ours, theirs, torch.tensor([[2, -100, 0], [1, -100, -100]]))
    first, third, only = (
        decoupled(ours.values[at], theirs.values[at], right, **weights)
        for at, right in (((0, 0), 2), ((0, 2), 0), ((1, 0), 1))
    )
    torch.testing.assert_close(
        rows, torch.tensor([(first + third) / 3, only], dtype=torch.float32), rtol=1e-4, atol=1e-5
    )


def test_decoupled_and_coupled_are_one_where_beta_is_the_teachers_doubt():
    ours, theirs = scores(1, 3), scores(1, 3, seed=1)
    doubt = 1 - theirs.softmax(-1)[0, 1].item()
    loss = build("DecoupledLoss", THREE, LABELS, RIGHT, beta=doubt, temperature=1.0)
    expected = build("SoftTargetLoss", THREE, LABELS)(Features(ours), Features(theirs))
    torch.testing.assert_close(loss(Features(ours), Features(theirs), torch.tensor([1])), expected)


def test_of_two_labels_the_decoupled_loss_is_the_coupled_one_and_beta_is_noticed():
    target = Spec("B", ids=True, labels=("no", "yes"))
    ours, theirs = scores(4, 1), scores(4, 2, seed=1)
    loss = build("DecoupledLoss", ONE, TWO_LABELS, target, temperature=2.0)
    expected = build("SoftTargetLoss", ONE, TWO_LABELS, temperature=2.0)(Features(ours), Features(theirs))
    torch.testing.assert_close(loss(Features(ours), Features(theirs), torch.tensor([0, 1, 1, 0])), expected)
    assert list(loss.conf.notices(ONE, TWO_LABELS, target)) == ["conf.beta"]
    assert loss.conf.notices(THREE, LABELS, RIGHT) == {}


def test_dist_is_one_less_the_correlations_over_labels_and_over_rows():
    ours, theirs = scores(5, 3), scores(5, 3, seed=1)
    q, p = ((z / 2).softmax(-1).numpy().astype(float) for z in (ours, theirs))
    over_labels = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    over_rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    loss = build("DISTLoss", THREE, LABELS, beta=0.5, gamma=3.0, temperature=2.0)
    expected = (0.5 * (1 - over_labels) + 3 * (1 - over_rows)) * 4
    assert loss(Features(ours), Features(theirs)).item() == pytest.approx(expected, rel=1e-4)
    assert loss(Features(ours), Features(ours)).item() == pytest.approx(0, abs=1e-5)


def test_dist_of_label_sets_correlates_the_probabilities_of_labels():
    ours, theirs = scores(5, 3), scores(5, 3, seed=1)
    q, p = (z.sigmoid().numpy().astype(float) for z in (ours, theirs))
    over_labels = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    over_rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    got = build("DISTLoss", THREE, SETS)(Features(ours), Features(theirs))
    assert got.item() == pytest.approx(2 - over_labels - over_rows, rel=1e-4)


def test_dist_of_tags_correlates_over_all_tokens_each_with_its_share_of_a_row():
    ours, theirs = texts((4, 2, 3)), texts((3, 4, 1), seed=1)
    shared = (3, 2, 1)
    q, p = (
        np.concatenate([f.values[row, :size].softmax(-1) for row, size in enumerate(shared)]).astype(float)
        for f in (ours, theirs)
    )
    weights = np.repeat([1 / size for size in shared], shared)
    covariances = [np.cov(a, b, aweights=weights) for a, b in zip(q.T, p.T, strict=True)]
    over_rows = np.mean([c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in covariances])
    got = build("DISTLoss", TOKENS, TAGS, beta=0.0)(ours, theirs)
    assert got.item() == pytest.approx(1 - over_rows, rel=1e-4)
    over_labels = [np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)]
    got = build("DISTLoss", TOKENS, TAGS, gamma=0.0)(ours, theirs)
    assert got.item() == pytest.approx(1 - np.average(over_labels, weights=weights), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "specs", "sentence"),
    [
        ("DecoupledLoss", (THREE, SETS, RIGHT), "scores labels of which one is right"),
        ("DecoupledLoss", (ONE, NUMBER, NUMBER), "scores labels of which one is right"),
        ("DecoupledLoss", (THREE, LABELS, NUMBER), "needs a target of labels"),
        ("DecoupledLoss", (TOKENS, TAGS, RIGHT), "expects B x T, but the input is B"),
        ("DecoupledLoss", (Spec("BT"), PLACES, Spec("B", ids=True, places=True)), "of which one is right"),
        ("DISTLoss", (ONE, NUMBER), r"this one gives a number\. Take ScoreMSELoss"),
        ("DISTLoss", (Spec("BT"), PLACES), r"answers by places of tokens\. Take SoftTargetLoss"),
    ],
)
def test_what_does_not_fit_decoupled_and_dist_is_said(name, specs, sentence):
    loss: Any = LOSSES[name]
    with pytest.raises(ValueError, match=sentence):
        loss.Conf().check(*specs)
