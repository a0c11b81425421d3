"""One call of a segmentation network whose logits teach the network, and not what made its images."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from loopda.models.segmentation_network import Outputs


def heads_apart(call: Callable[[Tensor], Outputs], images: Tensor, parameters: Sequence[Tensor]) -> Outputs:
    """call(images). `parameters` get the gradient of all outputs, `images` that of shallow and features alone.

    As if the logits came from another call, for images.detach(). It is saved: the gradient that the images may see goes
    back by itself, which needs no weight's gradient on its way, and then all of it to the weights. In operations that
    is 1 forward, 1 and 2 backward, instead of twice 1 and 2.
    """
    if not (torch.is_grad_enabled() and images.requires_grad):
        return call(images)
    aligned: list[bool] = []

    def tensors(seen: Tensor) -> list[Tensor]:
        outputs = call(seen)
        aligned.append(outputs.aligned)
        heads = [outputs.logits] if outputs.aux is None else [outputs.logits, outputs.aux]
        return [outputs.shallow, outputs.features, *heads]

    shallow, features, logits, *aux = _HeadsApart.apply(
        tensors, images, *(parameter for parameter in parameters if parameter.requires_grad)
    )
    return Outputs(shallow, aux[0] if aux else None, logits, features, aligned[0])


class _HeadsApart(torch.autograd.Function):
    """tensors(images): first shallow and features, by which the images may learn, then what the heads say."""

    @staticmethod
    def forward(ctx: Any, tensors: Callable[[Tensor], list[Tensor]], images: Tensor, *parameters: Tensor) -> Any:
        with torch.enable_grad():
            seen = images.detach().requires_grad_()
            outputs = tensors(seen)
        ctx.graph = seen, outputs, parameters  # kept as long as the outer graph is: it may go back several times
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        seen, outputs, parameters = ctx.graph
        (to_images,) = _gradients(outputs[:2], gradients[:2], [seen])
        return None, to_images, *_gradients(outputs, gradients, parameters)


def _gradients(
    outputs: Sequence[Tensor], gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """By `inputs`, from those of `outputs` to which a gradient came back; only what leads there is computed."""
    given = [pair for pair in zip(outputs, gradients, strict=True) if pair[1] is not None]
    if not given:
        return [None] * len(inputs)
    roots, arrived = zip(*given, strict=True)
    return torch.autograd.grad(roots, inputs, arrived, retain_graph=True, allow_unused=True)
