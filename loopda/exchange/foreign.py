"""Segmentation networks of other projects, heads included, as segmenters of this package."""

import re
from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError
from torch import Tensor

from loopda.errors import ConfigError, DataError
from loopda.exchange.loading import count_blocks, first_dimension, load_tensors
from loopda.labels.classes import ClassList
from loopda.models.deeplab import DILATIONS, INITIAL_DEVIATION
from loopda.models.segmenter import Network, Segmenter, running_statistics
from loopda.weights.layouts import OWN
from loopda.weights.recognition import ImportedWeights


def foreign_segmenter(weights: ImportedWeights, classes: ClassList, *, aspp_branches: int = 0) -> Segmenter:
    """The segmentation network of another project, ready for evaluation, with its own input and statistics.

    Blocks, widths, levels and the number of classes follow from the shapes of the tensors. aspp_branches: see
    loopda.models.deeplab; 0 infers it from the tensors (`summed_branches`). ConfigError where that is not possible, or
    where the tensors contradict the number. DataError when the file is not a whole network, does not fit `classes`, or
    a tensor is missing, unexpected or of another shape.
    """
    path, layout = weights.path, weights.layout
    if layout.title == OWN:
        raise DataError(f"{path}: {layout.title} already; evaluate it as it is")
    if not layout.network:
        raise DataError(
            f"{path}: {layout.title} is a backbone without segmentation heads; it can initialise a network "
            "(pretrain.weights, simclr.weights), but there is nothing to evaluate"
        )
    _check_classes(weights, classes)
    levels = 2
    if layout.network == "deeplab":
        aspp_branches = _aspp_branches(weights, aspp_branches)
        weights, levels = _with_levels(weights)
    tensors = weights.tensors
    try:
        section = Network(
            name=layout.network,
            encoder="resnet",
            blocks=tuple(count_blocks(tensors, layer) for layer in (1, 2, 3, 4)),
            width=first_dimension(tensors, "layer0.0.weight", 64),
            head_channels=first_dimension(tensors, "final1.0.weight", 512),
            stride_in=layout.stride_in,
            output_stride=8,
            dropout=0.1,
            aspp_branches=aspp_branches or 4,
            levels=levels,
            freeze_affine=True,
            initialisation="normal",
            normalisation=layout.normalisations[0],
            statistics="shared",  # these files hold one running average for all images
        )
    except ValidationError as error:
        raise DataError(f"{path}: no network of this package has these widths: {error.errors()[0]['msg']}") from None
    student = any(name.startswith("bn_pretrain.") for name in tensors)
    segmenter = Segmenter(section, classes, bn_pretrain=student)
    load_tensors(segmenter.network, weights, re.compile(""), f"it is not a whole network of {layout.title}")
    segmenter.statistics = {"shared": running_statistics(segmenter)}
    return segmenter


def summed_branches(tensors: Mapping[str, Tensor]) -> int:
    """The number of branches that the classifiers of a DeepLab sum, inferred from its tensors; 0 where that fails.

    A network with a single classifier that is called layer6 comes from ADVENT's code, which sums four. Branches that
    are not summed are never trained. So where the last two still hold the numbers of their initialisation and the first
    two do not, the network sums two.
    """
    classifiers = [layer for layer in ("layer5", "layer6") if f"{layer}.conv2d_list.0.weight" in tensors]
    if classifiers == ["layer6"]:
        return 4
    weights = [
        [tensors.get(f"{layer}.conv2d_list.{branch}.weight") for branch in range(len(DILATIONS))]
        for layer in classifiers
    ]
    if not weights or any(weight is None for branches in weights for weight in branches):
        return 0
    untrained = [[_is_untrained(weight) for weight in branches] for branches in weights]
    return 2 if all(branches == [False, False, True, True] for branches in untrained) else 0


def _is_untrained(weight: Tensor) -> bool:
    """Whether the numbers have the mean, deviation and kurtosis of the distribution that initialises classifiers.

    Each must agree within five standard errors. An epoch of training moves the deviation by more than one, 0.2 %.
    """
    numbers = weight.double().flatten() / INITIAL_DEVIATION
    count = numbers.numel()
    mean, variance = numbers.mean(), numbers.var()
    kurtosis = (numbers - mean).pow(4).mean() / variance.square()
    errors = (mean * count**0.5, (variance.sqrt() - 1) * (2 * count) ** 0.5, (kurtosis - 3) * (count / 24) ** 0.5)
    return all(abs(float(error)) < 5 for error in errors)


def _aspp_branches(weights: ImportedWeights, stated: int) -> int:
    """The number of branches to sum: `stated`, or where that is 0 the number inferred from the tensors."""
    inferred = summed_branches(weights.tensors)
    key = "convert.aspp_branches (--aspp-branches)"
    if not (stated or inferred):
        raise ConfigError(
            f"{weights.path}: the file does not say how many of the four branches of its classifiers are summed: set "
            f"{key} to 2 for networks of AdaptSegNet's code, to 4 for ADVENT's, BDL's and others that sum all. With "
            "the wrong number a third of the labels are others"
        )
    if stated == 4 and inferred == 2:
        raise ConfigError(
            f"{weights.path}: {key} is 4, but two of the four branches of its classifiers were never trained: set it "
            "to 2, as for networks of AdaptSegNet's code"
        )
    return stated or inferred


def _with_levels(weights: ImportedWeights) -> tuple[ImportedWeights, int]:
    """The weights of a DeepLab whose classifier on layer4 is called layer6, and the number of its classifiers.

    A single-level network has one classifier, on layer4. ADVENT calls it layer6, AdaptSegNet and BDL call it layer5,
    the name that the classifier on layer3 has in multi-level networks.
    """
    tensors = weights.tensors
    has = {layer: f"{layer}.conv2d_list.0.weight" in tensors for layer in ("layer5", "layer6")}
    if all(has.values()) or not any(has.values()):
        return weights, 2
    if has["layer5"]:
        classifier, layer4 = tensors["layer5.conv2d_list.0.weight"], tensors.get("layer4.0.conv3.weight")
        if layer4 is None or classifier.ndim != 4 or classifier.shape[1] != len(layer4):
            return weights, 2  # its layer5 is on layer3: layer6 is missing, which loading reports
        tensors = {re.sub("^layer5", "layer6", name): value for name, value in tensors.items()}
    return replace(weights, tensors=tensors), 1


def _check_classes(weights: ImportedWeights, classes: ClassList) -> None:
    """DataError where the network has another number of classes than `classes`, or names them in another order."""
    last = {"pspnet": "final2.1.weight", "deeplab": "layer6.conv2d_list.0.weight"}[weights.layout.network]
    last = last if last in weights.tensors else "layer5.conv2d_list.0.weight"
    found = first_dimension(weights.tensors, last, len(classes))
    if found != len(classes):
        raise DataError(
            f"{weights.path}: a network of {found} classes, but the class list has {len(classes)}; give --classes the "
            "list that it was trained with, as the stage prepare writes it"
        )
    in_file, in_list = (
        [re.sub(r"[\W_]+", " ", name.lower()) for name in names] for names in (weights.class_names, classes.names)
    )
    if in_file != in_list and sorted(in_file) == sorted(in_list):
        index = next(index for index, name in enumerate(in_list) if in_file[index] != name)
        raise DataError(
            f"{weights.path}: its classes have another order than the class list: number {index} is {in_file[index]} "
            f"there and {in_list[index]} here; give --classes a list in its order"
        )
