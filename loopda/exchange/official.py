"""The official LoopDA layout: files that the authors' evaluation code reads like its own student.pth."""

from pathlib import Path

import torch

from loopda.errors import DataError
from loopda.models.segmenter import Segmenter
from loopda.runtime.files import written

_NORMALISATION = {False: "caffe", True: "caffe-rgb"}  # of the input in the authors' code, by bn_pretrain


def write_official(segmenter: Segmenter, path: Path, domain: str) -> None:
    """Write a plain state dict in the layout of the authors' `student.pth`, with the statistics of `domain`.

    It has 645 tensors for a ResNet-101, 650 with bn_pretrain. DataError for a network whose logits the authors' code
    would not reproduce from these tensors, because the file holds nothing but tensors.
    """
    section = segmenter.section
    wanted = {
        "name": "pspnet",
        "stride_in": "conv1",
        "output_stride": 8,
        "normalisation": _NORMALISATION[segmenter.bn_pretrain],
    }
    lines = [
        f"{key} is {getattr(section, key)}, there it is {value}"
        for key, value in wanted.items()
        if getattr(section, key) != value
    ]
    if lines:
        raise DataError(
            f"{path}: the official code cannot run this network: {'; '.join(lines)}. "
            "Export it as safetensors or ONNX, or train a network with these values of the section network"
        )
    segmenter.use_statistics(domain)
    state = {name: value.cpu().contiguous() for name, value in segmenter.network.state_dict().items()}
    with written(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)
