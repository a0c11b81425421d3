"""Stage `submission`: write the zip that the test server of Dark Zurich accepts, or check a zip.

    python -m loopda.stages.submission --model model.pt --root DarkZurich --out submission.zip
    python -m loopda.stages.submission --root DarkZurich --out submission.zip     # without a model: check it

`loopda.evaluation.submission` has the server's rules, as far as they are known. No upload has tested them: try a first
submission before you trust the names.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from loopda import __version__, load
from loopda.config import Fraction, Section, WholeNumber
from loopda.data.images import Source
from loopda.data.layouts import DarkZurichLayout
from loopda.data.skipped import collect_skipped
from loopda.errors import ConfigError, DataError
from loopda.evaluation.predict_images import predict_images
from loopda.evaluation.prediction_records import PredictionRecords
from loopda.evaluation.predictor import Prediction, Predictor
from loopda.evaluation.submission import (
    CONFIDENCE,
    COUNT,
    FOLDERS,
    INVALID,
    LABELS,
    NAMES,
    SIZE,
    faults,
    file_name,
    pack,
)
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.png import write_confidence, write_label
from loopda.pipeline.stages import MODEL_STAGES
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.files import sha256, written
from loopda.runtime.log import Log, duration


class Config(Section):
    """The section `submission`; its keys, except stages, are the flags of the same names.

    root: the folder of Dark Zurich; "" makes no zip. stages: the model of each of these makes a zip, where the
    experiment has that stage.
    """

    root: str
    stages: tuple[Literal[MODEL_STAGES], ...]
    names: Literal["image", "id"]
    invalid_below: Fraction
    size: str
    tile: str
    overlap: WholeNumber | None


@writes("out")
def run(
    *,
    root: Path,
    out: Path,
    model: Path | None = None,
    names: str = "image",
    invalid_below: float = 0.0,
    size: str = "",
    tile: str = "",
    overlap: int | None = None,
    log: Path | None = None,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Predict the test images of Dark Zurich below `root` with the night statistics and write the zip `out`.

    Without `model`, check the zip that is there. Either way every fault is listed, and no zip with a fault is written.
    names: image names each PNG as its image (..._rgb_anon.png), as users report that the server wants; id appends _id
    (..._rgb_anon_id.png), as CIConv's code does.
    invalid_below: pixels with a smaller confidence are 255 in labelTrainIds_invalid. 0 marks none. The mean IoU does
    not depend on it; only the uncertainty-aware IoU does, and the threshold must not be tuned on the test set.
    size, tile, overlap: as in `predict`. A signal ends the command with exit code 75; the same command continues from
    there.
    """
    if names not in NAMES:
        raise ConfigError(f"names {names!r}: choose {' or '.join(NAMES)}")
    if not 0 <= invalid_below <= 1:
        raise ConfigError(f"invalid_below {invalid_below}: a confidence is in 0 ... 1")
    logger = Log(log, "submission")
    with collect_skipped() as skipped:
        layout = DarkZurichLayout(layout="dark_zurich", root=root, split="test")
        images = [row.image for row in layout.rows(CITYSCAPES, labelled=False)]
    for line in skipped.lines():
        logger.say(line)
    expected = [file_name(image, names) for image in images]
    if model is None:
        _refuse(faults(out, expected, count=COUNT, size=SIZE), out)
        logger.say(f"{out}: no fault in names, number, size, mode and ids")
        return
    if len(set(expected)) != COUNT:
        raise DataError(f"{root}: {len(set(expected))} test images; the server has {COUNT}: fetch the archive again")
    use_threads(threads)
    choose_device(device)
    predictor = load(model, size=size, tile=tile, overlap=overlap, device=device)
    if predictor.classes.names != CITYSCAPES.names:
        raise DataError(f"{model}: its classes are not the 19 of Cityscapes, which the test server scores")

    logger.say(f"{len(images)} images, {predictor.description}")
    work = out.with_name(f"{out.stem}.files")
    by = {"model": sha256(model), "loopda": __version__, "invalid_below": invalid_below, **predictor.settings}
    sources = [Source(image.absolute(), Path(name).stem) for image, name in zip(images, expected, strict=True)]
    _predict(sources, predictor, PredictionRecords(work, by=by, sources=sources), work, invalid_below, threads, logger)
    with written(out) as temporary:
        pack(work, expected, temporary)
        _refuse(faults(temporary, expected, count=COUNT, size=SIZE), out)
    shutil.rmtree(work)
    logger.say(f"{out}: {len(expected)} images, no fault in names, number, size, mode and ids")


def _predict(
    sources: Sequence[Source],
    predictor: Predictor,
    records: PredictionRecords,
    work: Path,
    invalid_below: float,
    threads: int,
    logger: Log,
) -> None:
    """Write the three PNGs of every image below `work`; DataError lists the images that cannot be used."""

    def files(source: Source) -> dict[str, Path]:
        return {folder: work / folder / f"{source.name}.png" for folder in FOLDERS}

    def write(files: Mapping[str, Path], image: Image.Image, prediction: Prediction) -> None:
        write_label(files[LABELS], prediction.labels)
        write_label(files[INVALID], np.where(prediction.confidence < invalid_below, IGNORE, prediction.labels))
        write_confidence(files[CONFIDENCE], prediction.confidence)

    done = predict_images(
        sources, predictor, records, files=files, write=write, threads=threads, progress=logger.progress
    )
    _refuse(done.faults, work)
    logger.say(f"{done.predicted} images in {duration(done.seconds)}, {done.kept} were there before")


def _refuse(found: Sequence[str], where: Path) -> None:
    if found:
        raise DataError("\n".join([f"{where}: {len(found)} faults", *found]))


if __name__ == "__main__":
    command(run)
