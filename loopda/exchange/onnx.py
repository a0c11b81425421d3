"""ONNX: a model as one graph from an image's bytes to its label map, for use without this package or PyTorch."""

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

OPSET = 18  # of ONNX 1.13 (2022), which the runtimes in use support
# the allowed difference of a probability between PyTorch and ONNX Runtime, which sum float32 in different orders:
TOLERANCE = 1e-3
ROUNDINGS = 10  # or this multiple of PyTorch's own rounding error, which deep networks with large weights amplify


class Deployed(nn.Module):
    """image (1, H, W, 3) uint8, RGB -> label (1, H, W) uint8 and probabilities (1, K, H, W) float.

    The bytes are those that an image library decodes, so that users need not know the network's normalisation. The
    result is that of `loopda.evaluation.probabilities`: softmax, bilinear upsampling as the network is trained with,
    the largest class.
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
    """Write the network as a graph for images of `size` (width, height) with the statistics of `domain`.

    ONNX Runtime runs the graph on noise and on a smooth picture, for a comparison with PyTorch. Returns the largest
    difference of a probability, and the share of pixels with another label. NumericError, and no file, when the
    difference exceeds both TOLERANCE and ROUNDINGS times the rounding error: a ResNet-101 of random weights differs in
    float32 and float64 by 0.004, and from its graph by as much.
    """
    needs_packages(".onnx")  # without them torch's exporter fails with a traceback
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
    ClearMetadataAndDocStringPass()(program.model)  # they hold paths of source files on this machine
    program.model.metadata_props["classes"] = json.dumps(segmenter.classes.names)
    program.model.metadata_props["statistics"] = used
    with written(path) as temporary:
        program.save(temporary, external_data=False)
        worst, relabelled = _difference(module, temporary, size, threads)
        if not (worst <= TOLERANCE or worst <= ROUNDINGS * _rounding_error(module, size)):
            raise NumericError(f"{path}: ONNX Runtime's probabilities differ from PyTorch's by up to {worst:.2g}")
    return worst, relabelled


@torch.no_grad()
def _difference(module: Deployed, path: Path, size: tuple[int, int], threads: int) -> tuple[float, float]:
    """The largest difference of a probability, and the share of pixels with another label, PyTorch against `path`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    worst, relabelled = 0.0, []
    for image in _test_images(size):
        label, probabilities = module(torch.from_numpy(image))
        found_label, found = session.run(None, {"image": image})
        worst = max(worst, float(np.abs(found - probabilities.numpy()).max()))
        relabelled.append(float((found_label != label.numpy()).mean()))
    return worst, float(np.mean(relabelled))


@torch.no_grad()
def _rounding_error(module: Deployed, size: tuple[int, int]) -> float:
    """The largest difference of a probability between float32 and float64, both in PyTorch."""
    exact = copy.deepcopy(module).double()
    images = [torch.from_numpy(image) for image in _test_images(size)]
    return max(float((module(image)[1] - exact(image)[1]).abs().max()) for image in images)


def _test_images(size: tuple[int, int]) -> list[np.ndarray]:
    """Noise and a smooth picture, each (1, H, W, 3) uint8."""
    width, height = size
    noise = np.random.default_rng(0).integers(256, size=(1, height, width, 3), dtype=np.uint8)
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    smooth = np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8)
    return [noise, smooth[None]]
