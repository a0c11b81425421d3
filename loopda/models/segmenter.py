"""A segmentation network with all that belongs to it: input normalisation, class list, normalisation statistics.

Everywhere in this package an image is a float tensor (N, 3, H, W), RGB, in [-1, 1]. Networks differ in what they want
to see, and a wrong order or scale is silent; so each network converts for itself, and its checkpoint says how.
"""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from loopda.config import Section
from loopda.errors import DataError
from loopda.labels.classes import ClassList
from loopda.models import torch_files
from loopda.models.compute.heads_apart import heads_apart
from loopda.models.compute.normalisation import domains_of
from loopda.models.compute.precision import mixed
from loopda.models.daformer import DAFormer
from loopda.models.deeplab import DeepLabV2
from loopda.models.pspnet import Outputs, PSPNet
from loopda.runtime import distributed, processes
from loopda.runtime.files import sha256, unwritable, written
from loopda.weights.layouts import OWN, recognise

FORMAT = 1  # of the checkpoint file
DIGEST = "sha256"  # the key of the digest of all others in the file
DOMAINS = ("day", "night")

# channel order, mean and standard deviation of the channels in 0 ... 255, of the families in the literature
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
}
Normalisation = Literal["caffe", "caffe-rgb", "caffe-255", "imagenet", "unit"]


class Network(Section):
    """The section `network`: what `pretrain` and `simclr` build; every later stage reads it from a checkpoint.

    A network ignores the keys that are not its own: head_channels and dropout are of pspnet's and daformer's heads,
    aspp_branches and levels are of deeplab's; encoder and drop_path are daformer's, which has no other keys of a trunk,
    and whose output stride is 4.
    """

    name: Literal["pspnet", "deeplab", "daformer"]
    blocks: tuple[
        Annotated[int, Field(ge=1)],
        Annotated[int, Field(ge=1)],
        Annotated[int, Field(ge=1)],
        Annotated[int, Field(ge=1)],
    ]
    width: Annotated[int, Field(ge=4, le=256)]
    head_channels: Annotated[int, Field(ge=4, le=2048)]
    stride_in: Literal["conv1", "conv2"]
    output_stride: Literal[4, 8]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    # checkpoints from before there were deeplab and daformer do not say these
    aspp_branches: Literal[2, 4] = 4
    levels: Literal[1, 2] = 2
    encoder: Literal["mit_tiny", "mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = "mit_b0"
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    freeze_affine: bool
    initialisation: Literal["normal", "kaiming"]
    normalisation: Normalisation
    statistics: Literal["per_domain", "shared"]


# each network, and the keys of the section that are not its own
_DEEPLAB = {"aspp_branches", "levels"}
_TRANSFORMER = {"encoder", "drop_path"}
_RESNET = {"blocks", "width", "stride_in", "output_stride", "freeze_affine", "initialisation"}
_NETWORKS = {
    "pspnet": (PSPNet, _DEEPLAB | _TRANSFORMER),
    "deeplab": (DeepLabV2, {"head_channels", "dropout"} | _TRANSFORMER),
    "daformer": (DAFormer, _DEEPLAB | _RESNET),
}


@mixed
class Segmenter(nn.Module):
    """The network of a `Network` section. `images` in [-1, 1] go in, `Outputs` come out.

    `statistics` holds, for each domain, the mean and variance of every batch normalisation, or is empty while the
    network is being trained (then each batch is normalised by itself). `input_size` is the (width, height) of the
    images it was trained on, or None where its checkpoint does not say.
    """

    def __init__(self, network: Network, classes: ClassList, *, bn_pretrain: bool = False):
        super().__init__()
        self.section = network
        self.classes = classes
        self.bn_pretrain = bn_pretrain
        self.statistics: dict[str, dict[str, Tensor]] = {}
        self.input_size: tuple[int, int] | None = None
        kind, others = _NETWORKS[network.name]
        arguments = network.model_dump(exclude={"name", "normalisation", "statistics", *others})
        module = kind(classes=len(classes), bn_pretrain=bn_pretrain, **arguments)
        self.network = module.to(memory_format=torch.channels_last)  # the faster layout, on CPUs and GPUs
        order, mean, deviation = NORMALISATIONS[network.normalisation]
        self.reversed = order == "bgr"
        deviation = torch.tensor(deviation).expand(3).reshape(1, 3, 1, 1)
        self.register_buffer("scale", 127.5 / deviation, persistent=False)
        shift = (127.5 - torch.tensor(mean).reshape(1, 3, 1, 1)) / deviation
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor, *, aux: bool | int = True, logits: bool = True) -> Outputs:
        """Outputs for `images` (N, 3, H, W) in [-1, 1], RGB; without `aux` or `logits` that head is not computed.

        aux: of all images, of none, or of the first so many.
        """
        if self.reversed:
            images = images.flip(1)
        return self.network(images * self.scale + self.shift, aux=aux, logits=logits)

    def together(self, batches: Sequence[Tensor], *, aux: Sequence[bool]) -> list[Outputs]:
        """The outputs for several batches of images, each normalised by its own statistics, in as few calls as can be.

        aux: which batches want that head; the others have None. All is as in one call for each batch, but for the
        order in which the running statistics see them (those with `aux` first) and for what dropout draws.
        """
        outputs: dict[int, Outputs] = {}
        for places in alike([batch.shape[2:] for batch in batches]):
            places.sort(key=lambda place: not aux[place])
            sizes = [len(batches[place]) for place in places]
            with_aux = [len(batches[place]) for place in places if aux[place]]
            with domains_of(self.network, sizes):
                all_of_them = self(torch.cat([batches[place] for place in places]), aux=sum(with_aux))
            outputs |= zip(places, _split(all_of_them, sizes, with_aux), strict=True)
        return [outputs[place] for place in range(len(batches))]

    def with_heads_apart(self, images: Tensor, *, aux: bool) -> Outputs:
        """As a call, but `images` get no gradient from the logits, of which the parameters get all (heads_apart.py)."""
        return heads_apart(partial(self, aux=aux), images, list(self.parameters()))

    def use_statistics(self, domain: str) -> str:
        """Go into evaluation mode with the statistics of `domain`; returns the name of the set that is used."""
        name = domain if self.section.statistics == "per_domain" else "shared"
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


def alike(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The places of equal `shapes`: what lies there can share a call."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, shape in enumerate(shapes):
        places.setdefault(tuple(shape), []).append(place)
    return list(places.values())


def _split(outputs: Outputs, sizes: Sequence[int], with_aux: Sequence[int]) -> Iterator[Outputs]:
    aux = chain(() if outputs.aux is None else outputs.aux.split(with_aux), repeat(None))
    of_all = (every.split(sizes) for every in (outputs.shallow, outputs.logits, outputs.features))
    for shallow, logits, features in zip(*of_all, strict=True):
        yield Outputs(shallow, next(aux), logits, features, outputs.aligned)


@torch.no_grad()
def copy_backbone(source: Segmenter, target: Segmenter) -> None:
    """Give `target` the backbone (the network's `trunk`) of `source`.

    Where one of them is fed BGR and the other RGB, the input channels of the first convolution change places, so that
    caffe and caffe-rgb networks see the same in the same image; other differences of scale are left to training.
    DataError where the two backbones differ.
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

    The averages over all batches have equal weights (Wu and Johnson, "Rethinking Batch in BatchNorm", 2021,
    section 3.1), so the result does not depend on the order in which the domains were seen in training.
    Nothing is dropped meanwhile, and layer normalisations have no statistics. Each process has batches of its own, and
    gets the averages over all. The segmenter is left in training mode.
    """
    segmenter.eval()
    normalisations = [part for part in segmenter.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [part.momentum for part in normalisations]
    for part in normalisations:
        part.train().reset_running_stats()
        part.momentum = None  # torch's word for a cumulative average
    with distributed.independent():
        for images in batches:
            segmenter(images)  # with its auxiliary head, whose statistics count too
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
    """Bilinear: (N, K, h, w) -> (N, K, *size).

    aligned: with aligned corners, the rule of the literature on adaptation; DAFormer's is without (Outputs.aligned).
    """
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=aligned)


def save_segmenter(segmenter: Segmenter, path: Path, **provenance: object) -> None:
    """Write a checkpoint that describes itself. `provenance` (stage, seed, config, ...) must be plain values."""
    checkpoint = {
        "format": FORMAT,
        "network": segmenter.section.model_dump(),
        "bn_pretrain": segmenter.bn_pretrain,
        "classes": segmenter.classes.to_json(),
        "statistics": segmenter.statistics,
        "model": {key: value.cpu() for key, value in segmenter.network.state_dict().items()},
        "provenance": provenance,
    }
    save_checkpoint(checkpoint, path)


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values for `load_checkpoint`, as a whole file or not at all, with their SHA-256.

    Equal checkpoints make equal files. The first of several processes writes. DeviceError where there is no room.
    """
    if not processes.is_first():
        return
    # into an open file, for torch would write a file's temporary name into its archive
    with written(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save({**checkpoint, DIGEST: content_digest(checkpoint)}, file)
        except RuntimeError as error:  # so torch reports a full disk
            raise unwritable(path, error) from error


def load_segmenter(path: Path) -> Segmenter:
    """Read a checkpoint that `save_segmenter` wrote; DataError when it is missing, damaged or not finite."""
    checkpoint = load_checkpoint(path)
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT or "network" not in checkpoint:
        raise DataError(f"{path}: {_not_a_model(checkpoint, path)}")
    return segmenter_of(checkpoint, path)


def _not_a_model(content: object, path: Path) -> str:
    """What a file is that is read, but no model of this package, and what to do with it."""
    version = content.get("format") if isinstance(content, dict) else None
    if version is not None and version != FORMAT:
        return f"not a loopda checkpoint of format {FORMAT} but {version}; make it again with this version"
    convert = f"python -m loopda.stages.convert --weights {shlex.quote(str(path))} --model model.pt"
    try:
        layout = recognise(content, path).layout
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return (
            f"not a loopda checkpoint (model.pt). Models of others become one by `{convert}`; but this file: {reason}"
        )
    if layout.title == OWN:
        return "a part of a loopda checkpoint; make it again"
    if not layout.network:
        return (
            f"not a loopda checkpoint but a backbone without heads ({layout.title}): training can start from it "
            "(pretrain.weights, simclr.weights); name a model.pt, or a whole model of others after "
            "python -m loopda.stages.convert"
        )
    return f"not a loopda checkpoint but a model of others ({layout.title}); make one of it: {convert}"


def segmenter_of(checkpoint: Mapping[str, Any], path: Path) -> Segmenter:
    """The segmenter of what `save_segmenter` wrote to `path`; DataError as in `load_segmenter`."""
    try:
        network = checkpoint["network"]
        segmenter = Segmenter(
            Network(**{**network, "blocks": tuple(network["blocks"])}),
            ClassList.from_json(checkpoint["classes"]),
            bn_pretrain=checkpoint["bn_pretrain"],
        )
        segmenter.network.load_state_dict(checkpoint["model"])
        segmenter.statistics = checkpoint["statistics"]
        segmenter.input_size = _input_size(checkpoint["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: parts are missing or do not fit ({reason}); make it again") from None
    named = {"model": checkpoint["model"], **checkpoint["statistics"]}
    for part, values in named.items():
        for name, value in values.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise DataError(f"{path}: {part}: {name} holds numbers that are not finite; train that stage again")
    return segmenter


def _input_size(provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    section = provenance.get("config", {}).get("input")
    if section is None:
        return None
    width, height = section["size"]
    return int(width), int(height)


def load_checkpoint(path: Path) -> object:
    """torch.load without code execution; DataError for a missing or damaged file, and one that is something else.

    What `save_checkpoint` wrote is compared with its SHA-256: a flipped bit would pass torch. Files of others, and of
    versions of this package that wrote none, have nothing to compare with.
    """
    content = torch_files.read(Path(path))
    if isinstance(content, dict) and DIGEST in content and content.pop(DIGEST) != content_digest(content):
        raise DataError(
            f"{path}: its content does not match the SHA-256 in it: bytes have changed since it was written; delete it "
            "and run the stage that makes it again, or copy it again from where it is whole"
        )
    return content


def content_digest(content: object) -> str:
    """The SHA-256 of tensors (type, shape, values) and plain values; dictionaries, lists and tuples count in order."""
    digest = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, Tensor):
            digest.update(f"tensor {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, Mapping):
            digest.update(f"mapping {len(value)} ".encode())
            for pair in value.items():
                add(pair)
        elif isinstance(value, list | tuple):
            digest.update(f"sequence {len(value)} ".encode())
            for item in value:
                add(item)
        else:
            digest.update(f"{value!r} ".encode())

    add(content)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """What a checkpoint's content is called in other files."""
    return sha256(path)
