"""Dilated depthwise convolutions: the values and gradients of PyTorch's own, in every layout and precision."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from loopda.models.compute.depthwise import DilatedDepthwiseConv2d, dilated_depthwise_conv2d


def plain(x, weight, dilation):
    padding = [dilation[0] * (weight.shape[2] // 2), dilation[1] * (weight.shape[3] // 2)]
    return functional.conv2d(x, weight, None, 1, padding, dilation, groups=len(weight))


def gradients(convolve, x, weight, dilation, toward):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = convolve(x, weight, dilation)
    return out, *torch.autograd.grad(out, (x, weight), toward.to(out))


def fast(x, weight, dilation):
    return dilated_depthwise_conv2d(x, weight, dilation=dilation)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    ("kernel", "dilation"), [((3, 3), (2, 2)), ((5, 5), (2, 2)), ((3, 5), (6, 1)), ((1, 3), (4, 3))]
)
def test_values_and_gradients_are_those_of_pytorch(kernel, dilation, layout):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 7, 9, dtype=torch.float64).to(memory_format=layout)
    weight, toward = torch.randn(6, 1, *kernel, dtype=torch.float64), torch.randn_like(x)
    ours = gradients(fast, x, weight, dilation, toward)
    for value, expected in zip(ours, gradients(plain, x, weight, dilation, toward), strict=True):
        # sums of at most 126 products of normal numbers, in another order: some 1e-14
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_on_a_cpu_the_gradient_by_the_input_is_one_more_convolution():
    """Equal values would not show it: PyTorch's own, slow gradient has them too."""
    convolution, x = DilatedDepthwiseConv2d(4, 3, dilation=2), torch.randn(1, 4, 5, 5, requires_grad=True)

    def operations(compute):
        with FlopCounterMode(display=False) as counted:
            compute()
        return counted.get_flop_counts()["Global"][torch.ops.aten.convolution]

    alone = operations(lambda: plain(x, convolution.weight, (2, 2)).sum().backward())
    assert operations(lambda: convolution(x).sum().backward()) == 2 * alone


def test_only_the_gradients_asked_for_are_computed():
    convolution = DilatedDepthwiseConv2d(4, 3, dilation=2).requires_grad_(False)
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    convolution(x).sum().backward()
    assert x.grad is not None
    assert convolution.weight.grad is None
    convolution.requires_grad_()
    convolution(x.detach()).sum().backward()
    assert convolution.weight.grad is not None


def test_autocast_computes_in_its_precision_and_gives_gradients_in_that_of_the_weights():
    torch.manual_seed(0)
    convolution, x = DilatedDepthwiseConv2d(4, 3, dilation=2), torch.randn(2, 4, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = convolution(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert convolution.weight.grad.dtype == torch.float32
    wide = plain(x, convolution.weight, (2, 2))
    torch.testing.assert_close(out.float(), wide, rtol=2**-6, atol=2**-6)  # bf16 has 8 bits


def test_a_convolution_under_several_backward_passes_keeps_what_it_saved():
    convolution, x = DilatedDepthwiseConv2d(4, 3, dilation=2), torch.randn(1, 4, 5, 5, requires_grad=True)
    out = convolution(x)
    first = torch.autograd.grad(out.sum(), x, retain_graph=True)
    assert torch.equal(*torch.autograd.grad(out.sum(), x), *first)
