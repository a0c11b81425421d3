"""Stage `convert`: make a checkpoint of this package of a segmentation model that others trained, to evaluate it."""

from pathlib import Path
from typing import Literal

from loopda.command import command, writes
from loopda.config import Section
from loopda.downloads import locate
from loopda.errors import ConfigError
from loopda.files import sha256
from loopda.labels.classes import CITYSCAPES, load_classes
from loopda.models.exchange import checkpoint_of, read_safetensors
from loopda.models.segmenter import save_checkpoint, save_segmenter, segmenter_of
from loopda.models.weights import foreign_segmenter, read_weights
from loopda.training.log import Log

# published files that are made for the first two branches (loopda.models.deeplab); the tensors do not tell
TWO_BRANCHES = ("adaptsegnet-gta",)


class Config(Section):
    """The section `convert`, whose keys are the flags of the same names."""

    weights: str
    aspp_branches: Literal[2, 4]


@writes("model")
def run(
    *,
    weights: str,
    model: Path,
    classes: Path | None = None,
    aspp_branches: int = 4,
    log: Path | None = None,
) -> None:
    """Write `model` from `weights`: a name of the catalogue (python -m loopda.downloads --help), a path, or an address
    with #sha256=.

    Understood are LoopDA's student.pth, AdaptSegNet's and ADVENT's DeepLabV2, and what the stage `export` wrote as
    .pth or .safetensors. `classes` is the classes.json of `prepare`; without it the 19 classes of Cityscapes.
    aspp_branches: 4 as in ADVENT and BDL, 2 for networks of AdaptSegNet's code.
    """
    lines = Log(log, "convert")
    if not weights:
        raise ConfigError("convert.weights is empty: name the model to convert")
    if aspp_branches not in (2, 4) or (weights in TWO_BRANCHES and aspp_branches != 2):
        raise ConfigError(
            f"aspp_branches {aspp_branches}: {weights} needs {2 if weights in TWO_BRANCHES else '2 or 4'}"
        )
    path = locate(weights, lines.say)
    if path.suffix == ".safetensors":
        checkpoint = checkpoint_of(*read_safetensors(path), path)
        if checkpoint is not None:
            segmenter_of(checkpoint, path)  # refuses a damaged one
            save_checkpoint(checkpoint, model)
            lines.say(f"{path}: an export of this package, restored with its statistics")
            return
    found = read_weights(path)
    known = load_classes(classes) if classes else CITYSCAPES
    segmenter = foreign_segmenter(found, known, aspp_branches=aspp_branches)
    section = segmenter.section
    save_segmenter(
        segmenter,
        model,
        stage="convert",
        config={"weights": weights, "aspp_branches": aspp_branches},
        sha256=sha256(path),
        layout=found.layout.title,
    )
    head = f", {aspp_branches} of 4 branches are summed" if section.name == "deeplab" else ""
    lines.say(
        f"{path}: {found.layout.title}, {section.name} of blocks {list(section.blocks)}, {len(known)} classes{head}; "
        f"its input is {section.normalisation}, its statistics are its own running averages"
    )


if __name__ == "__main__":
    command(run)
