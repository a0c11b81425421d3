"""Predicting any number of images in constant memory: threads read images ahead, and write results meanwhile."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from loopda.data.images import Source
from loopda.data.sampling import prefetched
from loopda.errors import DataError, DeviceError, Interrupted
from loopda.evaluation.prediction_records import PredictionRecords, digest
from loopda.evaluation.predictor import Prediction, Predictor
from loopda.labels.png import read_image
from loopda.runtime.signals import received, remembered


class Progress(NamedTuple):
    """What a run of `predict_images` has done.

    predicted: the number of images predicted now. kept: the number of images that had their results before. faults: one
    line for each image that cannot be used. seconds: of this run. squeezed: the predicted images that are upright while
    the working size is wide, or the reverse (`Predictor.squeezes`).
    """

    predicted: int
    kept: int
    faults: list[str]
    seconds: float
    squeezed: list[Path]

    @property
    def speed(self) -> float:
        """Predicted images per second."""
        return self.predicted / max(self.seconds, 1e-9)


class _Work(NamedTuple):
    """An image on its way: read, then predicted, then written. files: the digests of its results."""

    source: Source
    content: str
    image: Image.Image | None = None
    prediction: Prediction | None = None
    files: Mapping[Path, str] | None = None
    fault: str = ""


@remembered()
def predict_images(
    sources: Sequence[Source],
    predictor: Predictor,
    records: PredictionRecords,
    *,
    files: Callable[[Source], Mapping[str, Path]],
    write: Callable[[Mapping[str, Path], Image.Image, Prediction], None],
    threads: int,
    progress: Callable[[str], None],
) -> Progress:
    """Predict and write every image whose results `records` does not hold.

    files: the paths of the results of an image, by kind. write: writes them, each atomically; it runs in `threads`
    threads. progress: shows a line.
    An image that cannot be used, or whose results `write` refuses with a DataError, is a fault; the others are still
    predicted. Interrupted: a signal came; images that were begun are finished and recorded. DeviceError: the disk is
    full.
    """

    def read(source: Source) -> _Work:
        content = digest(source.path)
        if records.hold(source, content, files(source).values()):
            return _Work(source, content)
        try:
            return _Work(source, content, image=read_image(source.path))
        except DataError as error:
            return _Work(source, content, fault=str(error))

    squeezed: list[Path] = []

    def predicted() -> Iterator[_Work]:
        for work in prefetched(read, (source for source in sources if not received()), workers=threads):
            if work.image and predictor.squeezes(work.image.size):
                squeezed.append(work.source.path)
            yield work._replace(prediction=predictor(work.image)) if work.image else work

    def written(work: _Work) -> _Work:
        if work.prediction is None:
            return work
        made = files(work.source)
        try:
            write(made, work.image, work.prediction)
        except DataError as error:
            return _Work(work.source, work.content, fault=str(error))
        except OSError as error:
            raise DeviceError(
                f"{records.folder}: the results of {work.source.path} cannot be written ({error.strerror}); free some"
                " disk space and run the same command again: it goes on from there"
            ) from error
        return _Work(work.source, work.content, files={path: digest(path) for path in made.values()})

    started = time.monotonic()
    count, kept, faults = 0, 0, []
    for number, work in enumerate(prefetched(written, predicted(), workers=threads), start=1):
        if work.fault:
            faults.append(work.fault)
        elif work.files:
            records.add(work.source, work.content, work.files)
            count += 1
        else:
            kept += 1
        done = Progress(count, kept, faults, time.monotonic() - started, squeezed)
        progress(f"{number}/{len(sources)} images" + (f"  {done.speed:.1f} images/s" if count else ""))
    if received() and count + kept + len(faults) < len(sources):
        raise Interrupted(
            f"stopped by signal {received()} after {count + kept} of {len(sources)} images; the same command goes on"
            " from there"
        )
    return Progress(count, kept, faults, time.monotonic() - started, squeezed)
