"""Whole segmentation networks that others trained, as segmenters of this package."""

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
    """The segmentation network of a foreign checkpoint, ready to be evaluated, on its own input and statistics.

    Blocks, widths, levels and the number of classes are read off the tensors. aspp_branches: see
    loopda.models.deeplab; 0 takes what the tensors tell (`summed_branches`). ConfigError where they do not, or tell
    another number. DataError when the file is no whole network, does not fit `classes`, or any tensor is missing,
    unexpected or of another shape.
    """
    path, layout = weights.path, weights.layout
    if layout.title == OWN:
        raise DataError(f"{path}: {layout.title} already; evaluate it as it is")
    if not layout.network:
        raise DataError(
            f"{path}: {layout.title} is a backbone without segmentation heads; it can initialise a network "
            "(pretrain.weights, simclr.weights), but there is nothing to evaluate"
        )
    _same_classes(weights, classes)
    levels = 2
    if layout.network == "deeplab":
        aspp_branches = _stated_or_found(weights, aspp_branches)
        weights, levels = _level_by_level(weights)
    tensors = weights.tensors
    try:
        section = Network(
            name=layout.network,
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
    """How many branches of its classifiers a DeepLab sums, where its tensors tell, else 0.

    A network of one classifier that is called layer6 is of ADVENT's code, which sums four. Branches that are not summed
    are never trained: where the last two still hold the numbers of their initialisation and the first two do not, the
    network sums two.
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
    untouched = [[_untouched(weight) for weight in branches] for branches in weights]
    return 2 if all(branches == [False, False, True, True] for branches in untouched) else 0


def _untouched(weight: Tensor) -> bool:
    """Whether the numbers have mean, deviation and kurtosis of the normal distribution that classifiers begin with, all
    within five standard errors. Training for an epoch moves the deviation by more than such an error, of 0.2 %."""
    numbers = weight.double().flatten() / INITIAL_DEVIATION
    count = numbers.numel()
    mean, variance = numbers.mean(), numbers.var()
    kurtosis = (numbers - mean).pow(4).mean() / variance.square()
    errors = (mean * count**0.5, (variance.sqrt() - 1) * (2 * count) ** 0.5, (kurtosis - 3) * (count / 24) ** 0.5)
    return all(abs(float(error)) < 5 for error in errors)


def _stated_or_found(weights: ImportedWeights, stated: int) -> int:
    told = summed_branches(weights.tensors)
    key = "convert.aspp_branches (--aspp-branches)"
    if not (stated or told):
        raise ConfigError(
            f"{weights.path}: the file does not tell how many of the four branches of its classifiers are summed: set "
            f"{key} to 2 for networks of AdaptSegNet's code, to 4 for ADVENT's, BDL's and others that sum all. With "
            "the wrong number a third of the labels are others"
        )
    if stated == 4 and told == 2:
        raise ConfigError(
            f"{weights.path}: {key} is 4, but two of the four branches of its classifiers were never trained: set it "
            "to 2, as for networks of AdaptSegNet's code"
        )
    return stated or told


def _level_by_level(weights: ImportedWeights) -> tuple[ImportedWeights, int]:
    """A DeepLab with its classifier on layer4 as layer6, and the number of its classifiers.

    Single-level networks have one: ADVENT calls it layer6, AdaptSegNet and BDL layer5, which elsewhere is on layer3.
    """
    tensors = weights.tensors
    has = {layer: f"{layer}.conv2d_list.0.weight" in tensors for layer in ("layer5", "layer6")}
    if all(has.values()) or not any(has.values()):
        return weights, 2
    if has["layer5"]:
        seen, top = tensors["layer5.conv2d_list.0.weight"], tensors.get("layer4.0.conv3.weight")
        if top is None or seen.ndim != 4 or seen.shape[1] != len(top):
            return weights, 2  # and layer6 is missing
        tensors = {re.sub("^layer5", "layer6", name): value for name, value in tensors.items()}
    return replace(weights, tensors=tensors), 1


def _same_classes(weights: ImportedWeights, classes: ClassList) -> None:
    last = {"pspnet": "final2.1.weight", "deeplab": "layer6.conv2d_list.0.weight"}[weights.layout.network]
    last = last if last in weights.tensors else "layer5.conv2d_list.0.weight"
    found = first_dimension(weights.tensors, last, len(classes))
    if found != len(classes):
        raise DataError(
            f"{weights.path}: a network of {found} classes, but the class list has {len(classes)}; give --classes the "
            "list that it was trained with, as the stage prepare writes it"
        )
    theirs, ours = ([re.sub(r"[\W_]+", " ", name.lower()) for name in n] for n in (weights.class_names, classes.names))
    if theirs != ours and sorted(theirs) == sorted(ours):
        place = next(index for index, name in enumerate(ours) if theirs[index] != name)
        raise DataError(
            f"{weights.path}: its classes have another order than the class list: number {place} is {theirs[place]} "
            f"there and {ours[place]} here; give --classes a list in its order"
        )
