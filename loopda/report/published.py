"""What papers report of their own runs, each number with its setting and the place where it stands."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class PublishedScore:
    """One published result in percent; what its source does not say is "" or None.

    training: the data that it was trained on (labelled → unlabelled), test: the images that it was measured on.
    """

    method: str
    network: str
    training: str
    test: str
    mIoU: float
    fwIoU: float | None
    accuracy: float | None
    source: str


def published_scores(comparison: str) -> list[PublishedScore]:
    """The numbers that belong on the page of a comparison (`COMPARISONS`), in the order of the file; none for `run`."""
    with (files("loopda.report") / "published.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.pop("page") == comparison]
    numbers = ("mIoU", "fwIoU", "accuracy")
    return [
        PublishedScore(
            **{key: (float(value) if value else None) if key in numbers else value for key, value in line.items()}
        )
        for line in lines
    ]
