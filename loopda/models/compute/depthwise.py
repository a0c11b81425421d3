"""Dilated depthwise convolutions with a gradient that is fast on CPUs."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional


class DilatedDepthwiseConv2d(nn.Conv2d):
    """The module of `dilated_depthwise_conv2d`: maps (N, C, H, W) to the same shape, without bias."""

    def __init__(self, channels: int, kernel: int, *, dilation: int):
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return dilated_depthwise_conv2d(x, self.weight, dilation=self.dilation)


def dilated_depthwise_conv2d(x: Tensor, weight: Tensor, *, dilation: tuple[int, int]) -> Tensor:
    """Each channel of x (N, C, H, W) convolved with its own kernel (C, 1, k, l); the output has the size of x.

    k and l are odd. Equal to `functional.conv2d` with groups=C and symmetric padding. On CPUs, PyTorch (2.15) takes
    twelve times as long for the gradient by x as for the convolution, because oneDNN's fast kernels of depthwise
    gradients know no dilation. That gradient is itself a convolution, with the kernel turned by 180 degrees, and is
    computed so here (docs/lab-notes.md).
    """
    if x.is_cpu and torch.is_grad_enabled():
        if torch.is_autocast_enabled("cpu"):  # which does not reach into a Function's backward
            x, weight = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (x, weight))
        return _Convolution.apply(x, weight, dilation)
    return _convolve(x, weight, dilation)


def _padding(weight: Tensor, dilation: tuple[int, int]) -> list[int]:
    return [step * (length // 2) for step, length in zip(dilation, weight.shape[2:], strict=True)]


def _convolve(x: Tensor, weight: Tensor, dilation: tuple[int, int]) -> Tensor:
    return functional.conv2d(x, weight, None, 1, _padding(weight, dilation), dilation, groups=len(weight))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, dilation: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), by_x, by_weight = ctx.saved_tensors, None, None
        if ctx.needs_input_grad[0]:
            by_x = _convolve(gradient, weight.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            _, by_weight, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], _padding(weight, ctx.dilation), ctx.dilation,
                False, [0, 0], len(weight), [False, True, False],
            )  # fmt: skip
        return by_x, by_weight, None
