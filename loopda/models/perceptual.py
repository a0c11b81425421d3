"""LPIPS (Zhang et al., CVPR 2018) from the `lpips` package, frozen, without any download."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from loopda.errors import DataError
from loopda.models.checkpoint import load_checkpoint
from loopda.models.compute.precision import mixed
from loopda.runtime import distributed
from loopda.weights.mismatches import abridged, mismatches
from loopda.weights.recognition import only_state_dict


class PerceptualDistance(nn.Module):
    """LPIPS(x, y) of two batches of images in [-1, 1], averaged over the batch; zero for equal images, else > 0.

    trunk: a file with torchvision's ImageNet weights of `net`; None gives random weights, drawn from a fixed seed. The
    distance of the paper needs the file. A random trunk still compares local structure (Zhang et al., table 5,
    "random"). The report says which one was used. The linear weights v0.1 come with the package. DataError where the
    file holds other weights.
    """

    def __init__(self, net: Literal["alex", "vgg"], trunk: Path | None):
        super().__init__()
        import lpips  # slow to import, and only this class needs it

        # alexnet draws its classifier, 94 % of its weights, last, so it can be left out; vgg16 draws its trunk after it
        initialised = _ConvolutionsAlone() if net == "alex" else nullcontext()
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), initialised:
            warnings.simplefilter("ignore")  # torchvision deprecates the argument that lpips passes
            torch.manual_seed(0)
            self.distance = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        if trunk is not None:
            self._load_trunk(net, trunk)
        self.distance.net = _Trunk(self.distance.net)
        self.distance.eval().requires_grad_(False)

    def _load_trunk(self, net: str, path: Path) -> None:
        from torchvision import models

        with torch.device("meta"):  # only names and shapes are needed
            reference = {"alex": models.alexnet, "vgg": models.vgg16}[net](weights=None).state_dict()
        weights = only_state_dict(load_checkpoint(path))
        if weights is None:
            raise DataError(f"{path}: not torchvision's {net} weights: not one dictionary of tensors")
        lines = mismatches(weights, reference)
        if lines:
            other = {"alex": "vgg", "vgg": "alex"}[net]
            raise DataError(
                f"{path}: not torchvision's {net} weights, as loops.decoders.lpips says ({other} is the other):\n"
                f"{abridged(lines)}"
            )
        # lpips cuts the trunk into slices whose layers keep torchvision's running number as their name
        for part in self.distance.net.children():
            for number, layer in part.named_children():
                if isinstance(layer, nn.Conv2d):
                    layer.load_state_dict({part: weights[f"features.{number}.{part}"] for part in ("weight", "bias")})

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Stay in evaluation mode, whatever the mode of the module that contains this one."""
        return super().train(False)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        return distributed.mean(self.distance(images, references).sum(), len(images))


class _ConvolutionsAlone(TorchFunctionMode):
    """In this block linear layers are not initialised, which saves time where they are thrown away."""

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        if function is nn.init.kaiming_uniform_:
            values = args[0] if args else kwargs["tensor"]
            if values.dim() == 2:
                return values
        return function(*args, **(kwargs or {}))


@mixed
class _Trunk(nn.Module):
    """The layers whose features LPIPS compares. Its outputs are fp32: in bf16 small distances would be noise."""

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.layers(images)
