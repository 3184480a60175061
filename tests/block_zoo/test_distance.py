import pytest
import torch
from scipy.spatial import distance

from block_zoo import CalculateDistance
from core.types import Features, Spec

VECTOR = Spec("BD", {"D": 3})
ALL = ["cos", "euclidean", "manhattan", "chebyshev"]


def distances(operations: list[str], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    block = CalculateDistance.Conf(operations=operations).build(VECTOR, VECTOR)  # type: ignore[arg-type]
    return block(Features(x), Features(y)).values


def test_distances_by_hand():
    values = distances(ALL, torch.tensor([[3.0, 0, 0]]), torch.tensor([[0, -4.0, 0]]))
    assert values.tolist() == [[0, 5, 7, 4]]


@pytest.mark.parametrize("operations", [ALL, ALL[::-1], ["manhattan"], ["chebyshev", "cos"]])
def test_distances_equal_those_of_scipy_in_the_order_asked_for(operations):
    theirs = {
        "cos": lambda a, b: 1 - distance.cosine(a, b),
        "euclidean": distance.euclidean,
        "manhattan": distance.cityblock,
        "chebyshev": distance.chebyshev,
    }
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    expected = [[theirs[name](a, b) for name in operations] for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    torch.testing.assert_close(distances(operations, x, y), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", ["both zero", "one zero", "equal"])
def test_gradients_stay_small_where_a_distance_has_none(name, place):
    x = torch.zeros(2, 3) if place != "equal" else torch.ones(2, 3)
    y = x.clone() if place != "one zero" else torch.ones(2, 3)
    x.requires_grad_()
    y.requires_grad_()
    values = distances([name], x, y)
    values.sum().backward()
    for gradient in (x.grad, y.grad):
        assert gradient is not None and gradient.abs().max() <= 1
    if name == "cos":
        assert values.flatten().tolist() == pytest.approx([float(place == "equal")] * 2)


def test_no_operation_is_refused():
    with pytest.raises(ValueError, match="operations is empty"):
        CalculateDistance.Conf(operations=[])
