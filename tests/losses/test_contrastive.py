import math

import pytest
import torch

from loopda.losses.contrastive import nt_xent


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def naive_nt_xent(first, second, temperature):
    """Chen et al., 2020, equation 1 and algorithm 1: views 2k - 1 and 2k are of the same image k."""
    views = [row for pair in zip(first.tolist(), second.tolist(), strict=True) for row in pair]
    count = len(views)

    def loss(i, j):
        below = sum(math.exp(cosine(views[i], views[k]) / temperature) for k in range(count) if k != i)
        return -math.log(math.exp(cosine(views[i], views[j]) / temperature) / below)

    return sum(loss(k, k + 1) + loss(k + 1, k) for k in range(0, count, 2)) / count


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_nt_xent_is_the_equation_of_simclr(count, temperature):
    first, second = torch.randn(count, 4), torch.randn(count, 4)
    assert float(nt_xent(first=first, second=second, temperature=temperature)) == pytest.approx(
        naive_nt_xent(first, second, temperature), rel=1e-4
    )


def test_nt_xent_of_two_orthogonal_images_is_the_number_computed_by_hand():
    # similarity 1 to the other view, 0 to the two negatives: log(1 + 2 / e)
    views = torch.eye(2)
    assert float(nt_xent(first=views, second=views, temperature=1.0)) == pytest.approx(0.5514447)


def test_nt_xent_does_not_see_the_length_of_a_projection():
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    lengths = torch.tensor([[0.1], [7.0], [30.0]])
    assert float(nt_xent(first=first * lengths, second=second, temperature=0.2)) == pytest.approx(
        float(nt_xent(first=first, second=second, temperature=0.2)), rel=1e-5
    )


def test_nt_xent_is_smaller_when_the_views_of_an_image_agree():
    first = torch.eye(4)
    matched = nt_xent(first=first, second=first, temperature=0.5)
    assert float(nt_xent(first=first, second=first.roll(1, 0), temperature=0.5)) > float(matched) + 1


def test_the_gradient_of_nt_xent_is_finite_even_for_equal_views():
    first = torch.randn(3, 4, requires_grad=True)
    nt_xent(first=first, second=first, temperature=0.1).backward()
    assert first.grad.isfinite().all()
    assert first.grad.abs().sum() > 0


def test_nt_xent_of_one_image_is_refused_because_there_is_no_negative():
    with pytest.raises(ValueError, match="at least two images"):
        nt_xent(first=torch.randn(1, 4), second=torch.randn(1, 4), temperature=0.5)
