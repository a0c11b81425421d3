import pytest
import torch

from loopda.losses.reconstruction import reconstruction


def naive_mean_absolute_difference(first, second):
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / first.numel()


def test_the_reconstruction_is_the_l1_norm_per_value():
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    value = reconstruction(output=first, image=second)
    assert float(value) == pytest.approx(naive_mean_absolute_difference(first, second), rel=1e-5)


def test_reconstruction_of_black_as_white_is_two_and_of_equal_images_zero():
    white = torch.ones(1, 3, 2, 2)
    assert float(reconstruction(output=-white, image=white)) == 2
    assert float(reconstruction(output=white, image=white)) == 0


def test_reconstruction_of_four_values_is_the_number_computed_by_hand():
    output, image = torch.tensor([0.5, -1.0, 0.0, 0.25]), torch.tensor([0.0, 1.0, 0.0, 0.5])
    assert float(reconstruction(output=output, image=image)) == pytest.approx((0.5 + 2 + 0 + 0.25) / 4)


def test_the_gradient_of_the_reconstruction_is_the_sign_of_the_difference_per_value():
    output = torch.tensor([0.5, -1.0], requires_grad=True)
    reconstruction(output=output, image=torch.zeros(2)).backward()
    assert output.grad.tolist() == [0.5, -0.5]
