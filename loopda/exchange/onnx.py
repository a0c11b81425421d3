"""A model as one ONNX graph from an image's bytes to its label map, for use without this package or PyTorch."""

import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from loopda.errors import NumericError
from loopda.models.segmenter import Segmenter, upsample
from loopda.runtime.files import written
from loopda.weights.formats import needs_packages

OPSET = 18  # of ONNX 1.13 (2022): what the runtimes in use understand
TOLERANCE = 1e-3  # of a probability, between PyTorch and ONNX Runtime: both compute in float32, in another order
ROUNDINGS = 10  # or as many times PyTorch's own rounding error, which deep networks of large weights amplify


class Deployed(nn.Module):
    """image (1, H, W, 3) uint8, RGB -> label (1, H, W) uint8 and probabilities (1, K, H, W) float.

    The bytes are what an image library decodes, so that nobody has to know the network's normalisation. The answer is
    that of `loopda.evaluation.probabilities`: softmax, bilinear upsampling by the network's rule, the largest class.
    """

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        images = image.permute(0, 3, 1, 2).to(self.segmenter.scale.dtype) / 127.5 - 1
        outputs = self.segmenter(images, aux=False)
        probabilities = upsample(outputs.logits.softmax(dim=1), images.shape[2:], outputs.aligned)
        return probabilities.argmax(dim=1).to(torch.uint8), probabilities


def write_onnx(
    segmenter: Segmenter, path: Path, domain: str, size: tuple[int, int], threads: int
) -> tuple[float, float]:
    """Write the network with the statistics of `domain` for images of `size` (width, height), and compare it with
    PyTorch in ONNX Runtime, on noise and on a smooth picture.

    Returns the largest difference of a probability, and the share of pixels with another label. NumericError, and no
    file, when the difference exceeds both TOLERANCE and what rounding explains: a ResNet-101 of random weights differs
    from itself in float64 by 0.004, and from its graph by as much.
    """
    needs_packages(".onnx")  # torch's exporter would miss them by a traceback
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    used = segmenter.use_statistics(domain)
    module = Deployed(segmenter).eval()
    width, height = size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        module,
        (example,),
        input_names=["image"],
        output_names=["label", "probabilities"],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    ClearMetadataAndDocStringPass()(program.model)  # it names the source files of every operation, on this machine
    program.model.metadata_props["classes"] = json.dumps(segmenter.classes.names)
    program.model.metadata_props["statistics"] = used
    with written(path) as temporary:
        program.save(temporary, external_data=False)
        worst, other = _difference(module, temporary, size, threads)
        if not (worst <= TOLERANCE or worst <= ROUNDINGS * _rounding_error(module, size)):
            raise NumericError(f"{path}: ONNX Runtime's probabilities differ from PyTorch's by up to {worst:.2g}")
    return worst, other


@torch.no_grad()
def _difference(module: Deployed, path: Path, size: tuple[int, int], threads: int) -> tuple[float, float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    worst, other = 0.0, []
    for image in _pictures(size):
        label, probabilities = module(torch.from_numpy(image))
        found_label, found = session.run(None, {"image": image})
        worst = max(worst, float(np.abs(found - probabilities.numpy()).max()))
        other.append(float((found_label != label.numpy()).mean()))
    return worst, float(np.mean(other))


@torch.no_grad()
def _rounding_error(module: Deployed, size: tuple[int, int]) -> float:
    """The largest difference of a probability between float32 and float64, both in PyTorch."""
    exact = copy.deepcopy(module).double()
    images = [torch.from_numpy(image) for image in _pictures(size)]
    return max(float((module(image)[1] - exact(image)[1]).abs().max()) for image in images)


def _pictures(size: tuple[int, int]) -> list[np.ndarray]:
    width, height = size
    noise = np.random.default_rng(0).integers(256, size=(1, height, width, 3), dtype=np.uint8)
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    smooth = np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8)
    return [noise, smooth[None]]
