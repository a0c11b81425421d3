"""Stage `export`: write a model for others, as LoopDA's official student.pth, as safetensors, or as ONNX."""

from pathlib import Path

from loopda.errors import ConfigError
from loopda.exchange.official import write_official
from loopda.exchange.onnx import write_onnx
from loopda.models.checkpoint import load_checkpoint, load_segmenter
from loopda.models.segmenter import DOMAINS
from loopda.runtime.command import command, writes
from loopda.runtime.device import use_threads
from loopda.runtime.log import Log
from loopda.weights.formats import needs_packages
from loopda.weights.safetensors_files import write_safetensors

EVALUATED = (960, 540)  # width and height in the authors' evaluation code
SUFFIXES = (".pth", ".safetensors", ".onnx")
OFFICIAL_SIZES = ((3, 4, 23, 3), 64, 512, 19)  # blocks, width, head channels, classes


@writes("exported")
def run(
    *,
    model: Path,
    exported: Path,
    domain: str = "night",
    width: int = 0,
    height: int = 0,
    threads: int = 2,
    log: Path | None = None,
) -> None:
    """Write `model` as the file `exported`, in the format of its suffix.

    .pth: a plain state dict in the official layout, with the statistics of `domain` (day or night).
    .safetensors: everything in the checkpoint, with the statistics of both domains.
    .onnx: a graph for images of `width` x `height` with the statistics of `domain`. In: `image`, uint8, 1 x H x W x 3,
    RGB. Out: `label`, uint8, 1 x H x W, and `probabilities`, 1 x K x H x W. ONNX Runtime must agree with PyTorch.
    By default the size is that of the images the model was trained on, or 960 x 540, at which LoopDA is evaluated.
    """
    logger = Log(log, "export")
    use_threads(threads)
    if domain not in DOMAINS:
        raise ConfigError(f"domain {domain!r}: choose {' or '.join(DOMAINS)}")
    if exported.suffix not in SUFFIXES:
        raise ConfigError(f"{exported}: the suffix says the format: {', '.join(SUFFIXES)}")
    needs_packages(exported.suffix)
    if (width or height) and min(width, height) < 16:
        raise ConfigError(f"{width} x {height}: an image has at least 16 x 16 pixels")
    segmenter = load_segmenter(model)
    if exported.suffix == ".pth":
        write_official(segmenter, exported, domain)
        logger.say(
            f"{exported}: the official layout, {len(segmenter.network.state_dict())} tensors, {domain} statistics"
        )
        section, classes = segmenter.section, len(segmenter.classes)
        if (section.blocks, section.width, section.head_channels, classes) != OFFICIAL_SIZES:
            logger.say(
                "the authors' own code only builds a ResNet-101 with 512 head channels and 19 classes: not this one"
            )
    elif exported.suffix == ".safetensors":
        write_safetensors(load_checkpoint(model), exported)
        logger.say(f"{exported}: safetensors, with network, classes and all statistics in its metadata")
    else:
        if not width and not height:
            width, height = segmenter.input_size or EVALUATED
        worst, other = write_onnx(segmenter, exported, domain, (width, height), threads)
        logger.say(
            f"{exported}: ONNX for {width} x {height} pixels; against PyTorch the largest difference of a probability "
            f"is {worst:.2g}, {100 * other:.4f} % of the labels differ"
        )


if __name__ == "__main__":
    command(run)
