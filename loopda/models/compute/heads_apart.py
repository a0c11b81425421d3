"""One call of a segmentation network whose logits train the network, but not the decoder that made its images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from loopda.models.segmentation_network import Outputs


def heads_apart(call: Callable[[Tensor], Outputs], images: Tensor, parameters: Sequence[Tensor]) -> Outputs:
    """call(images), where `parameters` get the gradient of all outputs, and `images` only that of shallow and features.

    The gradients are those of a second call on images.detach() for the logits, but that call is saved. The backward
    pass runs twice: from shallow and features to the images, without the gradients of weights, and from all outputs to
    the weights. In units of a forward pass this costs 1 forward, 1 and 2 backward, instead of twice 1 and 2.
    """
    if not (torch.is_grad_enabled() and images.requires_grad):
        return call(images)
    aligned: list[bool] = []

    def tensors(detached: Tensor) -> list[Tensor]:
        outputs = call(detached)
        aligned.append(outputs.aligned)
        heads = [outputs.logits] if outputs.aux is None else [outputs.logits, outputs.aux]
        return [outputs.shallow, outputs.features, *heads]

    shallow, features, logits, *aux = _HeadsApart.apply(
        tensors, images, *(parameter for parameter in parameters if parameter.requires_grad)
    )
    return Outputs(shallow, aux[0] if aux else None, logits, features, aligned[0])


class _HeadsApart(torch.autograd.Function):
    """tensors(images): first shallow and features, whose gradient reaches the images, then the logits of the heads."""

    @staticmethod
    def forward(ctx: Any, tensors: Callable[[Tensor], list[Tensor]], images: Tensor, *parameters: Tensor) -> Any:
        with torch.enable_grad():
            detached = images.detach().requires_grad_()
            outputs = tensors(detached)
        ctx.graph = detached, outputs, parameters  # as long as the outer graph, which may have several backward passes
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        detached, outputs, parameters = ctx.graph
        (to_images,) = _gradients(outputs[:2], gradients[:2], [detached])
        return None, to_images, *_gradients(outputs, gradients, parameters)


def _gradients(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """The gradients of `inputs`, from those `outputs` whose gradient is not None."""
    present = [pair for pair in zip(outputs, gradients, strict=True) if pair[1] is not None]
    if not present:
        return [None] * len(inputs)
    with_gradient, received = zip(*present, strict=True)
    return torch.autograd.grad(with_gradient, inputs, received, retain_graph=True, allow_unused=True)
