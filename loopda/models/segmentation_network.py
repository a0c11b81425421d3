"""What the segmentation networks have in common: their outputs, and the two groups of their parameters."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from torch import Tensor, nn


class Outputs(NamedTuple):
    """The outputs of a segmentation network for a batch. h and w are the image's sides divided by the output stride.

    shallow  (N, C2, ., .)  the features after layer2; those of stride 4 where the encoder is no ResNet
    aux      (N, K, h, w)   logits of the auxiliary head on layer3, or None where they were not asked for
    logits   (N, K, h, w)   logits of the main head; callers upsample them bilinearly; None where not asked for
    features (N, C4, h, w)  the features after layer4, the paper's z; a transformer has them at its own stride of 32
    aligned                 whether logits are upsampled with aligned corners
    """

    shallow: Tensor
    aux: Tensor | None
    logits: Tensor | None
    features: Tensor
    aligned: bool = True


class SegmentationNetwork(nn.Module):
    """Base of the networks that a `Segmenter` can have.

    trunk: the names of the layers of the backbone, in order. heads: those of all other layers with parameters; a
    network may lack one (None). has_aux: whether there is an auxiliary head. aligned: see `Outputs`.
    """

    trunk: ClassVar[tuple[str, ...]]
    heads: ClassVar[tuple[str, ...]]
    has_aux: bool = True
    aligned: bool = True

    def trunk_layers(self) -> tuple[nn.Module, ...]:
        """The layers of the backbone."""
        return tuple(getattr(self, name) for name in self.trunk)

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """The trainable parameters that have the base learning rate."""
        for layer in self.trunk_layers():
            yield from (parameter for parameter in layer.parameters() if parameter.requires_grad)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that have ten times the base learning rate, as usual in the literature on adaptation."""
        for layer in (getattr(self, name) for name in self.heads):
            if layer is not None:
                yield from layer.parameters()


def first_images(features: Tensor, aux: bool | int) -> Tensor:
    """The features (N, C, h, w) of the images whose auxiliary logits are asked for: all (True), or the first `aux`."""
    return features if aux is True else features[:aux]
