"""A segmentation network with its input normalisation, its class list and its normalisation statistics.

Everywhere in this package an image is a float tensor (N, 3, H, W), RGB, in [-1, 1]. Networks differ in the input that
they expect, and nothing reports a wrong order or scale of the channels. So each network converts images itself, and its
checkpoint says how.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from loopda.config import Count, Section
from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.models import mit
from loopda.models.compute.heads_apart import heads_apart
from loopda.models.compute.normalisation import domains_of
from loopda.models.compute.precision import mixed
from loopda.models.daformer import DAFormerNetwork
from loopda.models.deeplab import DeepLabV2
from loopda.models.pspnet import PSPNet
from loopda.models.segmentation_network import Outputs
from loopda.runtime import distributed

DOMAINS = ("day", "night")
OWN = "own"  # names the statistics of the images themselves that are predicted

# inputs of the families of networks in the literature: channel order, mean and standard deviation of the channels in
# 0 ... 255
NORMALISATIONS = {
    "caffe": ("bgr", (104.00698793, 116.66876762, 122.67891434), 128.0),  # LoopDA: BGR - mean, / 128
    "caffe-rgb": ("rgb", (122.67891434, 116.66876762, 104.00698793), 128.0),  # its distilled student
    "caffe-255": ("bgr", (104.00698793, 116.66876762, 122.67891434), 1.0),  # AdaptSegNet, ADVENT, BDL: BGR - mean
    "imagenet": (
        "rgb",
        (0.485 * 255, 0.456 * 255, 0.406 * 255),
        (0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),  # torchvision
    "unit": ("rgb", (0.0, 0.0, 0.0), 255.0),  # SimCLRv2, ProDA
    "lite": ("rgb", (127.0, 127.0, 127.0), 128.0),  # EfficientNet-Lite
}
Normalisation = Literal["caffe", "caffe-rgb", "caffe-255", "imagenet", "unit", "lite"]


Head = Literal["pspnet", "deeplab", "daformer"]
Encoder = Literal[
    "resnet", "efficientnet_lite0", "mit_tiny", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"
]
ENCODERS_OF: dict[str, tuple[str, ...]] = {
    "pspnet": ("resnet", "efficientnet_lite0"),
    "deeplab": ("resnet", "efficientnet_lite0"),
    "daformer": ("efficientnet_lite0", *mit.ENCODERS),
}
# the same as a JSON schema, by which the Snakefile checks
_ENCODERS_OF_EACH_HEAD = [
    {
        "if": {"properties": {"name": {"const": head}}},
        "then": {"properties": {"encoder": {"enum": list(encoders)}}},
    }
    for head, encoders in ENCODERS_OF.items()
]


class Network(Section):
    """The section `network`: what `pretrain` and `simclr` build; every later stage reads it from a checkpoint.

    name is the head; `ENCODERS_OF` says which encoders it goes with. A network ignores keys that are not for it.
    head_channels and dropout are for the heads of pspnet and daformer, aspp_branches and levels for that of deeplab;
    blocks, width, stride_in and initialisation for a ResNet; drop_path for a Mix Transformer, which has no
    output_stride and no freeze_affine.
    """

    model_config = ConfigDict(json_schema_extra={"allOf": _ENCODERS_OF_EACH_HEAD})

    name: Head
    blocks: tuple[Count, Count, Count, Count]
    width: Annotated[int, Field(ge=4, le=256)]
    head_channels: Annotated[int, Field(ge=4, le=2048)]
    stride_in: Literal["conv1", "conv2"]
    output_stride: Literal[4, 8]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    # checkpoints older than deeplab and daformer lack these
    aspp_branches: Literal[2, 4] = 4
    levels: Literal[1, 2] = 2
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    encoder: Encoder
    freeze_affine: bool
    initialisation: Literal["normal", "kaiming"]
    normalisation: Normalisation
    statistics: Literal["per_domain", "shared"]

    @model_validator(mode="after")
    def _head_and_encoder_fit(self) -> "Network":
        if self.encoder not in ENCODERS_OF[self.name]:
            raise ValueError(f"encoder {self.encoder}: {self.name} goes with {', '.join(ENCODERS_OF[self.name])}")
        return self


# the class of each network, and the keys of the section that it ignores
_DEEPLAB = {"aspp_branches", "levels"}
_TRANSFORMER = {"drop_path"}
_RESNET = {"blocks", "width", "stride_in", "initialisation"}
_NETWORKS = {
    "pspnet": (PSPNet, _DEEPLAB | _TRANSFORMER),
    "deeplab": (DeepLabV2, {"head_channels", "dropout"} | _TRANSFORMER),
    "daformer": (DAFormerNetwork, _DEEPLAB | _RESNET),
}


@mixed
class Segmenter(nn.Module):
    """The network of a `Network` section: images in [-1, 1] -> `Outputs`.

    `statistics` holds the mean and variance of every batch normalisation for each domain. It is empty while the network
    is being trained, when each batch is normalised by its own. `input_size` is the (width, height) of the images that
    the network was trained on, or None where its checkpoint does not say.
    """

    def __init__(self, network: Network, classes: ClassList, *, bn_pretrain: bool = False):
        super().__init__()
        self.section = network
        self.classes = classes
        self.bn_pretrain = bn_pretrain
        self.statistics: dict[str, dict[str, Tensor]] = {}
        self.input_size: tuple[int, int] | None = None
        network_class, ignored = _NETWORKS[network.name]
        arguments = network.model_dump(exclude={"name", "normalisation", "statistics", *ignored})
        module = network_class(classes=len(classes), bn_pretrain=bn_pretrain, **arguments)
        self.network = module.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs
        order, mean, deviation = NORMALISATIONS[network.normalisation]
        self.reversed = order == "bgr"
        deviation = torch.tensor(deviation).expand(3).reshape(1, 3, 1, 1)
        self.register_buffer("scale", 127.5 / deviation, persistent=False)
        shift = (127.5 - torch.tensor(mean).reshape(1, 3, 1, 1)) / deviation
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor, *, aux: bool | int = True, logits: bool = True) -> Outputs:
        """Outputs for `images` (N, 3, H, W) in [-1, 1], RGB; without `aux` or `logits` that head is not computed.

        aux: True for all images, False for none, or a number for the first images alone.
        """
        if self.reversed:
            images = images.flip(1)
        return self.network(images * self.scale + self.shift, aux=aux, logits=logits)

    def forward_batches(self, batches: Sequence[Tensor], *, aux: Sequence[bool]) -> list[Outputs]:
        """The outputs for several batches, each normalised by its own statistics, in one call for each size of images.

        aux: for each batch, whether the auxiliary head is computed. The results are those of one call for each batch,
        except for what dropout draws and for the order in which the running statistics see the batches: those with
        `aux` come first.
        """
        outputs: dict[int, Outputs] = {}
        for places in positions_by_shape([batch.shape[2:] for batch in batches]):
            places.sort(key=lambda place: not aux[place])
            sizes = [len(batches[place]) for place in places]
            with_aux = [len(batches[place]) for place in places if aux[place]]
            with domains_of(self.network, sizes):
                joint = self(torch.cat([batches[place] for place in places]), aux=sum(with_aux))
            outputs |= zip(places, _split(joint, sizes, with_aux), strict=True)
        return [outputs[place] for place in range(len(batches))]

    def with_heads_apart(self, images: Tensor, *, aux: bool) -> Outputs:
        """The outputs, whose logits send gradient to the parameters, but none to `images` (heads_apart.py)."""
        return heads_apart(partial(self, aux=aux), images, list(self.parameters()))

    def use_statistics(self, domain: str) -> str:
        """Go into evaluation mode with the statistics of `domain`, or the shared ones; returns which are used.

        domain: one of DOMAINS; or OWN, which `statistics` holds under this name once they are estimated, beside the
        shared ones too. DataError where the model has none.
        """
        name = domain if domain == OWN or self.section.statistics == "per_domain" else "shared"
        if name not in self.statistics:
            raise DataError(
                f"the model has no {name} statistics (it has {sorted(self.statistics)}): "
                "run the stage that makes it again"
            )
        buffers = dict(self.network.named_buffers())
        for key, value in self.statistics[name].items():
            buffers[key].copy_(value)
        self.eval()
        return name


def positions_by_shape(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The positions of equal `shapes`, grouped: the batches at the positions of a group can share a call."""
    positions: dict[tuple[int, ...], list[int]] = {}
    for position, shape in enumerate(shapes):
        positions.setdefault(tuple(shape), []).append(position)
    return list(positions.values())


def _split(outputs: Outputs, sizes: Sequence[int], with_aux: Sequence[int]) -> Iterator[Outputs]:
    """The outputs of each of several batches, from those of all; the first len(with_aux) batches have the head aux."""
    aux = chain(() if outputs.aux is None else outputs.aux.split(with_aux), repeat(None))
    parts = (output.split(sizes) for output in (outputs.shallow, outputs.logits, outputs.features))
    for shallow, logits, features in zip(*parts, strict=True):
        yield Outputs(shallow, next(aux), logits, features, outputs.aligned)


@torch.no_grad()
def copy_backbone(source: Segmenter, target: Segmenter) -> None:
    """Give `target` the backbone (the network's `trunk`) of `source`.

    Where the input of one is BGR and that of the other RGB, the input channels of the first convolution are reversed,
    so that caffe and caffe-rgb networks have the same features for an image. Other differences of scale are left to
    training. DataError where the two backbones differ.
    """
    found, wanted = _trunk(source.network), {name: value.shape for name, value in _trunk(target.network).items()}
    if source.reversed != target.reversed:
        first = next(iter(found))  # the weight of the convolution that sees the image
        found[first] = found[first].flip(1)
    if wanted != {name: value.shape for name, value in found.items()}:
        raise DataError("the two networks have different backbones; make both from the same section network")
    target.network.load_state_dict(found, strict=False)


def _trunk(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if name.split(".")[0] in network.trunk}


@torch.no_grad()
def estimate_statistics(segmenter: Segmenter, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Mean and variance of every batch normalisation over `batches` of images, with the present weights.

    All batches have equal weights in the averages (Wu and Johnson, "Rethinking Batch in BatchNorm", 2021, section 3.1),
    so the result does not depend on the order in which training saw the domains. Dropout is off meanwhile. Layer
    normalisations have no statistics. Each process has its own batches, and gets the averages over all processes. The
    segmenter is left in training mode.
    """
    segmenter.eval()
    normalisations = [part for part in segmenter.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [part.momentum for part in normalisations]
    for part in normalisations:
        part.train().reset_running_stats()
        part.momentum = None  # which makes torch compute a cumulative average
    with distributed.independent():
        for images in batches:
            segmenter(images)  # with the auxiliary head, which has statistics too
    for part, momentum in zip(normalisations, momenta, strict=True):
        part.momentum = momentum
        if distributed.count() > 1:
            for average in (part.running_mean, part.running_var):
                average.copy_(distributed.mean(average * part.num_batches_tracked, part.num_batches_tracked))
    segmenter.train()
    return running_statistics(segmenter)


def running_statistics(segmenter: Segmenter) -> dict[str, Tensor]:
    """A copy of the running mean and variance of every batch normalisation."""
    return {
        key: value.detach().clone().cpu()
        for key, value in segmenter.network.named_buffers()
        if key.endswith(("running_mean", "running_var"))
    }


def upsample(logits: Tensor, size: tuple[int, int], aligned: bool = True) -> Tensor:
    """Bilinear upsampling: (N, K, h, w) -> (N, K, *size).

    aligned: with aligned corners, as usual in the literature on adaptation; DAFormer does without (Outputs.aligned).
    """
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=aligned)
