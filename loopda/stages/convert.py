"""Stage `convert`: a segmentation model that others trained becomes a checkpoint of this package, for evaluation."""

from pathlib import Path
from typing import Literal

from loopda.config import Section
from loopda.errors import ConfigError
from loopda.exchange.foreign import foreign_segmenter
from loopda.exchange.loading import read_weights
from loopda.labels.class_files import load_classes
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import save_checkpoint, save_segmenter, segmenter_of
from loopda.runtime.command import command, writes
from loopda.runtime.files import sha256
from loopda.runtime.log import Log
from loopda.weights.catalogue import CATALOGUE
from loopda.weights.downloads import locate
from loopda.weights.formats import needs_packages
from loopda.weights.safetensors_files import checkpoint_of, read_safetensors

# the number of branches that the classifiers of published networks sum (loopda.models.deeplab)
BRANCHES = {"adaptsegnet-gta": 2, "advent-gta": 4}


class Config(Section):
    """The section `convert`; its keys are the flags of the same names. aspp_branches: 0 infers it from the file."""

    weights: str
    aspp_branches: Literal[0, 2, 4]


@writes("model")
def run(
    *,
    weights: str,
    model: Path,
    classes: Path | None = None,
    aspp_branches: int = 0,
    log: Path | None = None,
) -> None:
    """Write `model` from `weights`: a name of the catalogue (python -m loopda.weights.downloads --help), a path, or
    an address with #sha256=.

    It reads LoopDA's student.pth, AdaptSegNet's and ADVENT's DeepLabV2, multi-level and single-level, and the .pth and
    .safetensors files of the stage `export`. `classes` is the classes.json of `prepare`; without it the classes are the
    19 of Cityscapes. aspp_branches: how many branches the classifiers of a DeepLabV2 sum, 4 in ADVENT and BDL, 2 in
    networks of AdaptSegNet's code; 0 infers it from a published name or from the tensors, and is refused where neither
    says it.
    """
    logger = Log(log, "convert")
    if not weights:
        raise ConfigError("convert.weights is empty: name the model to convert")
    if aspp_branches not in (0, 2, 4):
        raise ConfigError(
            f"convert.aspp_branches (--aspp-branches) {aspp_branches}: choose 2 or 4, or 0 to infer it from the file"
        )
    if weights.endswith(".safetensors"):
        needs_packages(".safetensors")
    aspp_branches = published_branches(weights, "", aspp_branches)
    path = locate(weights, logger.say)
    if path.suffix == ".safetensors":
        checkpoint = checkpoint_of(*read_safetensors(path), path)
        if checkpoint is not None:
            segmenter_of(checkpoint, path)  # DataError where it is damaged
            save_checkpoint(checkpoint, model)
            logger.say(f"{path}: an export of this package, restored with its statistics")
            return
    digest = sha256(path)
    aspp_branches = published_branches(weights, digest, aspp_branches)
    found = read_weights(path)
    known = load_classes(classes) if classes else CITYSCAPES
    segmenter = foreign_segmenter(found, known, aspp_branches=aspp_branches)
    section = segmenter.section
    for note in found.notes:
        logger.say(note)
    save_segmenter(
        segmenter,
        model,
        stage="convert",
        config={"weights": weights, "aspp_branches": section.aspp_branches},
        sha256=digest,
        layout=found.layout.title,
    )
    head = f", {section.aspp_branches} of 4 branches are summed" if section.name == "deeplab" else ""
    head += ", single-level: without an auxiliary head" if section.levels == 1 else ""
    logger.say(
        f"{path}: {found.layout.title}, {section.name} of blocks {list(section.blocks)}, {len(known)} classes{head}; "
        f"its input is {section.normalisation}, its statistics are its own running averages"
    )
    if not found.class_names:
        logger.say(
            f"the file does not name its classes: they are taken to be {', '.join(known.names[:3])} ... in this order"
        )


def published_branches(weights: str, digest: str, stated: int) -> int:
    """aspp_branches of a published file, known by its name or its SHA-256; `stated` for any other file.

    ConfigError where both are known and differ.
    """
    for name, count in BRANCHES.items():
        begins = CATALOGUE[name].sha256
        if weights == name or (begins and digest.startswith(begins)):
            if stated not in (0, count):
                raise ConfigError(f"convert.aspp_branches (--aspp-branches) {stated}: {name} needs {count}")
            return count
    return stated


if __name__ == "__main__":
    command(run)
