"""Perceptual distances of images: LPIPS, and one of EfficientNet-Lite0. Both are frozen, and nothing is downloaded."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from loopda.errors import DataError
from loopda.models.checkpoint import load_checkpoint
from loopda.models.compute.precision import mixed
from loopda.models.efficientnet import EfficientNetLite0
from loopda.models.segmenter import NORMALISATIONS
from loopda.runtime import distributed
from loopda.weights.mismatches import abridged, mismatches
from loopda.weights.recognition import only_state_dict, recognise


class PerceptualDistance(nn.Module):
    """Base: the distance of two batches of images in [-1, 1], averaged over the batch; zero for equal images, else > 0.

    A subclass has `distances`, whose result has one number for each pair of images.
    """

    def train(self, mode: bool = True) -> "PerceptualDistance":
        """Stay in evaluation mode, whatever the mode of the module that contains this one."""
        return super().train(False)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        return distributed.mean(self.distances(images, references).sum(), len(images))

    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        """The distance of each of N pairs, in a tensor of N elements."""
        raise NotImplementedError


class Lpips(PerceptualDistance):
    """LPIPS (Zhang et al., CVPR 2018) from the `lpips` package.

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
                f"{path}: not torchvision's {net} weights, as loops.decoders.perceptual says (lpips-{other} is the "
                f"other):\n{abridged(lines)}"
            )
        # lpips cuts the trunk into slices whose layers keep torchvision's running number as their name
        for part in self.distance.net.children():
            for number, layer in part.named_children():
                if isinstance(layer, nn.Conv2d):
                    layer.load_state_dict({part: weights[f"features.{number}.{part}"] for part in ("weight", "bias")})

    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        return self.distance(images, references)


class FeatureDistance(PerceptualDistance):
    """The form of LPIPS without learnt linear weights, on the features of EfficientNet-Lite0; in [0, 4].

    Zhang et al., CVPR 2018, equation 1 with w = 1: the feature vectors at each position have norm 1, and their squared
    difference is summed over the channels, which is 2 - 2 cos of their angle, and averaged over the positions. Ours is
    the mean over the depths in place of the sum, and the depths themselves: the outputs of the first four stages, at
    strides of 2, 4, 8 and 16, which cost about as much as LPIPS' AlexNet.

    weights: the file that `efficientnet-lite0` stands for in the catalogue (loopda/weights/catalogue.py), whose
    statistics of normalisation are kept.
    """

    def __init__(self, weights: Path):
        super().__init__()
        with torch.device("meta"):  # draws no random weights
            network = EfficientNetLite0(stages=4)
        network.to_empty(device="cpu")
        tensors = recognise(load_checkpoint(weights), weights).tensors
        network.load_state_dict({name: tensors[f"backbone.{name}"] for name in network.state_dict()})
        self.trunk = _Trunk(network)
        self.eval().requires_grad_(False)

    def distances(self, images: Tensor, references: Tensor) -> Tensor:
        _, mean, deviation = NORMALISATIONS["lite"]
        maps = (self.trunk((x * 127.5 + (127.5 - mean[0])) / deviation) for x in (images, references))
        depths = zip(*maps, strict=True)
        angles = [(_unit(mine) - _unit(other)).square().sum(dim=1).mean(dim=(1, 2)) for mine, other in depths]
        return torch.stack(angles).mean(dim=0)


def _unit(features: Tensor) -> Tensor:
    """Features (N, C, h, w) whose vectors of C numbers have norm 1; those of zeros stay zero."""
    return functional.normalize(features, dim=1, eps=1e-10)


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
    """The layers whose features are compared. Its outputs are fp32: in bf16 small distances would be noise."""

    def __init__(self, layers: nn.Module):
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        return self.layers(images)
