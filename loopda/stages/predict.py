"""Stage `predict`: label maps of a user's own images, with one command.

    python -m loopda.stages.predict --model model.pt --images night_drive --out predictions --pictures overlay

In the folder `out`:

    labels/<name>.png      8-bit grey, the class index of each pixel (or its id in an encoding), at the image's own size
    colour/<name>.png      where asked for: the label map in the colours of the classes
    overlay/<name>.jpg     where asked for: the image under these colours
    legend.png             with either of them: what the colours mean
    classes.json           names and colours of the class indices
    predictions.jsonl      what was made by which model and settings, from which image

<name> is the path of the image below the common root of all of them, without its suffix.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from loopda import __version__, load
from loopda.data.images import Source, find_images
from loopda.data.listing import RECORD
from loopda.data.sampling import evenly
from loopda.errors import ConfigError, DataError
from loopda.evaluation.predict_images import predict_images
from loopda.evaluation.prediction_records import PredictionRecords, digest
from loopda.evaluation.predictor import Prediction, Predictor
from loopda.labels.class_files import write_classes
from loopda.labels.overlay import legend, overlay
from loopda.labels.png import read_image, write_label
from loopda.models.segmenter import DOMAINS, OWN
from loopda.models.statistics import IMAGES
from loopda.runtime.command import command, writes
from loopda.runtime.device import use_threads
from loopda.runtime.files import sha256, written
from loopda.runtime.log import Log, duration
from loopda.runtime.signals import AGAIN, interruptible
from loopda.text.names import examples

PICTURES = {"colour": ".png", "overlay": ".jpg"}
LOOKED_AT = 32  # images whose distance from the statistics of training is measured [ours: 0.02 for those of training]
FEWEST = 8  # images that are looked at; one alone lies at 0.3 from the statistics of its own domain
JPEG_QUALITY = 90  # of the overlays: a video's PNGs would take ten times the space


@writes("out")
def run(
    *,
    model: Path,
    images: list[str],
    out: Path,
    pictures: list[str] = (),
    statistics: str = "",
    domain: str = "",
    size: str = "",
    tile: str = "",
    overlap: int | None = None,
    encoding: str = "indices",
    log: Path | None = None,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Write a label map of every image to the folder `out`, and the `pictures` (colour, overlay) that are asked for.

    images: folders, patterns in quotes, .txt lists (one path a line) or image files; PNG and JPEG. Folders are read
    through links; what is skipped (other formats, hidden folders, results of this package) is listed in the log.
    statistics: whose normalisation statistics are used: night (the default) or day, those of training; or own, those of
    these images, at most 128 of them evenly. Then all images of a run share statistics, each prediction depends on the
    others, and another image makes all anew. domain: the earlier name of this flag, for night and day.
    size: WIDTHxHEIGHT that each image is resized to for the network, or `image` for its own. By default the size that
    the model was trained on, as in its evaluation; with `tile`, the image's own. Results have the image's own size.
    tile: WIDTHxHEIGHT of overlapping parts that the network sees, one at a time. overlap: pixels, by default a quarter
    of a tile's shorter side.
    encoding: of the label maps: indices (0, 1, ... in the order of the class list; for Cityscapes the train ids), or
    one that the model's class list knows, such as labelIds.

    Results that are there, made by the same model and settings from the same image, are not made again. An image that
    cannot be used is named at the end and makes the exit code 3; the others are done all the same. A signal ends the
    command after the images in work, with exit code 75; the same command goes on from there.
    """
    unknown = sorted(set(pictures) - PICTURES.keys())
    if unknown:
        raise ConfigError(f"pictures {', '.join(unknown)}: choose of {', '.join(PICTURES)}")
    chosen = _chosen_statistics(statistics, domain)
    logger = Log(log, "predict")
    use_threads(threads)
    found = find_images(images, outside=out)
    for line in found.skipped:
        logger.say(line)
    predicted_as = chosen if chosen in DOMAINS else "night"  # until the images' own statistics are estimated
    predictor = load(model, domain=predicted_as, size=size, tile=tile, overlap=overlap, device=device)
    table = predictor.classes.raw_ids(encoding)
    companions = {}
    if chosen == OWN:
        companions = {"statistics_of": _adapt(predictor, found.sources)}
    elif len(found.sources) >= FEWEST and (far := predictor.far(readable(spread_over(found.sources, LOOKED_AT)))):
        logger.say(f"{far}; --statistics own would use their own")
    by = {"model": sha256(model), "loopda": __version__, "encoding": encoding, **predictor.settings, **companions}
    records = PredictionRecords(out, by=by, sources=found.sources)
    write_classes(out / "classes.json", predictor.classes)
    if pictures:
        _write_picture(out / "legend.png", legend(predictor.classes))
    logger.say(f"{len(found.sources)} images, {predictor.description}")

    def files(source: Source) -> dict[str, Path]:
        kinds = {"labels": ".png"} | {kind: PICTURES[kind] for kind in pictures}
        return {kind: out / kind / f"{source.name}{suffix}" for kind, suffix in kinds.items()}

    def write(files: Mapping[str, Path], image: Image.Image, prediction: Prediction) -> None:
        labels = prediction.labels
        write_label(files["labels"], table[labels])
        if "colour" in files:
            write_label(files["colour"], labels, predictor.classes)
        if "overlay" in files:
            picture = overlay(np.asarray(image), labels, predictor.classes)
            _write_picture(files["overlay"], picture, quality=JPEG_QUALITY)

    done = predict_images(
        found.sources, predictor, records, files=files, write=write, threads=threads, progress=logger.progress
    )
    logger.say(
        f"{done.predicted} images in {duration(done.seconds)} ({done.speed:.1f} images/s), {done.kept} were there"
        f" before, {len(done.faults)} at fault: {out / RECORD}"
    )
    kept = {path for source in found.sources for path in files(source).values()} | records.files(found.sources)
    present = [path for kind in ("labels", *PICTURES) for path in sorted((out / kind).rglob("[!.]*.*"))]
    if earlier := [path for path in present if path not in kept and path.suffix in (".png", ".jpg")]:
        logger.say(
            f"{len(earlier)} files in {out} are of earlier runs, of images that are not named now or by another model"
            f" or settings, such as {examples(earlier)}: they stay as they were; delete them, or choose another folder"
        )
    if done.squeezed:
        logger.say(
            f"{len(done.squeezed)} images have another orientation than the working size, such as {done.squeezed[0]}:"
            " they were squeezed to it; --size image leaves each at its own"
        )
    if done.faults:
        raise DataError("\n".join(done.faults))


def _chosen_statistics(statistics: str, domain: str) -> str:
    """What the flags --statistics and --domain say; ConfigError where they disagree, or name none."""
    if domain and statistics not in ("", domain):
        raise ConfigError(f"--statistics {statistics} and --domain {domain}: give --statistics alone")
    chosen = statistics or domain or "night"
    if chosen not in (*DOMAINS, OWN):
        raise ConfigError(f"statistics {chosen!r}: choose {', '.join(DOMAINS)} or {OWN}")
    return chosen


def _adapt(predictor: Predictor, sources: Sequence[Source]) -> str:
    """Let the predictor use the statistics of at most IMAGES of the sources; returns a digest of their content."""
    seen = spread_over(sources, IMAGES)
    predictor.adapt(readable(seen))
    contents = "".join(digest(source.path) for source in seen)
    return hashlib.sha256(contents.encode()).hexdigest()[:16]


def spread_over(sources: Sequence[Source], count: int) -> list[Source]:
    """At most `count` of the sources, evenly."""
    return [sources[place] for place in evenly(len(sources), count)]


def readable(sources: Sequence[Source]) -> Iterator[Image.Image]:
    """The images that can be read; `predict_images` names the others."""
    for source in interruptible(sources, AGAIN):
        with suppress(DataError):
            yield read_image(source.path)


def _write_picture(path: Path, picture: np.ndarray, **options: int) -> None:
    with written(path) as temporary:
        Image.fromarray(picture).save(temporary, **options)


if __name__ == "__main__":
    command(run)
