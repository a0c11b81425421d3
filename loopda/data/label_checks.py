"""What is wrong with the label maps of a data set: unknown ids, train ids under the name of label ids, palettes that
contradict the numbers, smoothed maps.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loopda.data.label_files import LABEL_KINDS
from loopda.data.manifest import Row, file_digest
from loopda.errors import DataError
from loopda.labels.classes import COLOURS, ClassList
from loopda.labels.png import read_raw_label


class LabelFile(NamedTuple):
    """A label map that was opened."""

    width: int
    height: int
    count: np.ndarray  # pixels of each of the 256 raw ids
    palette: bytes | None  # three bytes for each id
    digest: str
    edges: int  # pairs of neighbours in a row with different ids
    steps: int  # pixels whose id lies between those of their two neighbours in the row


def open_label(path: Path, encoding: str, classes: ClassList) -> LabelFile | str:
    """A label map, or what is wrong with it."""
    try:
        ids, palette = read_raw_label(path, encoding, classes)
    except DataError as error:
        return str(error)
    count = np.bincount(ids.ravel(), minlength=256)
    rising = np.sign(np.diff(ids.astype(np.int16), axis=1)).astype(np.int8)
    edges, steps = np.count_nonzero(rising), np.count_nonzero(rising[:, 1:] * rising[:, :-1] > 0)
    return LabelFile(
        ids.shape[1],
        ids.shape[0],
        count,
        None if palette is None else palette.tobytes(),
        file_digest(path),
        edges,
        steps,
    )


FEW_IDS = 10
"""Our choice: a label map with more unknown ids is not one in which some are wrong."""


def unknown_ids_fault(row: Row, ids: list[int]) -> str:
    """The fault of a label file with raw ids that the class list does not know."""
    where = f"in the encoding {row.encoding!r} of the class list"
    if len(ids) <= FEW_IDS:
        return (
            f"label {row.label}: id {', '.join(map(str, ids))} is neither a class nor void {where}; correct the label,"
            " or add the id to the list"
        )
    return (
        f"label {row.label}: {len(ids)} ids, such as {', '.join(map(str, ids[:3]))}, are neither a class nor void"
        f" {where}; it is of another encoding, a picture, or a map that was smoothed or saved as JPEG once: export it"
        " anew, and resize it by nearest neighbour alone"
    )


def pixels_by_class(counts: dict[str, np.ndarray], classes: ClassList) -> tuple[np.ndarray, int]:
    """(pixels of each class, (K,) int64, pixels without a class). counts: encoding -> pixels of each raw id, (256,)."""
    pixels = np.zeros(len(classes), dtype=np.int64)
    ignored = 0
    for encoding, count in counts.items():
        ids = classes.encoding(encoding).ids
        of_class = np.array([count[list(values)].sum() for values in ids], dtype=np.int64)
        pixels += of_class
        ignored += int(count.sum() - of_class.sum())
    return pixels, ignored


RARE = 0.05
"""Our choice: a share of pixels that these ids of label ids hardly ever fill."""

_OVER_TRAIN_IDS = slice(19, 255)
_RARE_LABEL_IDS = [9, 10, 14, 15, 16, 18]


def train_ids_as_label_ids(
    rows: Sequence[Row], counts: dict[str, np.ndarray], classes: ClassList, *, stated: bool
) -> tuple[list[str], list[str]]:
    """(faults, notes) where files that are called labelIds hold train ids: a fault where it is sure, a note where it is
    possible. Where the user has `stated` that they are labelIds, what is sure is a note, and the rest nothing.

    Each train id is a legal label id too, so a single file does not decide. But a set of label ids in which none is
    over 18 shows no vegetation, sky, person or car at all. If most of its pixels are void besides, and fewer would be
    void as train ids, they may be train ids, or maps in which little but roads is drawn. It is sure where many pixels
    have the ids of a parking, a rail track, a guard rail, a bridge, a tunnel or a pole group, which are rare in label
    ids; as train ids these are terrain, sky, truck, bus, train and bicycle.
    """
    called, meant = LABEL_KINDS
    if called not in counts or not {called, meant} <= classes.encodings.keys():
        return [], []
    count, total = counts[called], counts[called].sum()
    void, void_if_meant = (count[sorted(classes.void_ids(kind))].sum() for kind in (called, meant))
    if count[_OVER_TRAIN_IDS].any() or 2 * void <= total or void_if_meant >= void:
        return [], []
    example = next(row.label for row in rows if row.encoding == called)
    line = (
        f"label {example} and all others of its kind: as {called}, {void / total:.0%} of their pixels are void and none"
        f" shows a class over id 18; "
    )
    rare = count[_RARE_LABEL_IDS].sum() / total
    if rare >= RARE:
        line += f"{rare:.0%} have ids that are rare in {called} and common in {meant}; "
    if stated:
        line += f"they are read as {called}, as `encoding` says; if they are {meant}, say `encoding: {meant}`"
        return [], [line] if rare >= RARE else []
    line += (
        f"if they are {called}, say so: `encoding: {called}` in the data set (layout folder or table); if they are"
        f" {meant}, say `encoding: {meant}`, or give them names that end in _{meant}.png"
    )
    return ([line], []) if rare >= RARE else ([], [line])


def contradicted_by_palettes(labels: Mapping[tuple[Path, str], LabelFile | str], classes: ClassList) -> list[str]:
    """A line for each encoding of whose label files some have palettes that give their numbers other classes' colours.

    Files with the same palette are compared together, since a single file may show too few classes.
    """
    of_palette: dict[tuple[str, bytes], list[tuple[Path, np.ndarray]]] = defaultdict(list)
    for (path, encoding), label in labels.items():
        if not isinstance(label, str) and label.palette is not None:
            of_palette[encoding, label.palette].append((path, label.count))
    wrong: dict[str, list[tuple[Path, list[str]]]] = defaultdict(list)
    for (encoding, palette), files in of_palette.items():
        found = np.flatnonzero(sum(count for _, count in files)).tolist()
        if lines := classes.palette_contradictions(
            encoding, np.frombuffer(palette, dtype=np.uint8).reshape(-1, 3), found
        ):
            wrong[encoding] += [(path, lines) for path, _ in files]
    return [
        _contradicted(encoding, *min(files, key=lambda file: file[0]), others=len(files) - 1)
        for encoding, files in sorted(wrong.items())
    ]


def _contradicted(encoding: str, example: Path, lines: list[str], *, others: int) -> str:
    files = f"{example} and {others} more" if others else f"{example}"
    rest = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return (
        f"label {files}: the colours of the palette contradict the numbers in the encoding {encoding!r}:"
        f" {lines[0]}{rest}; if the colours are right, say `encoding: {COLOURS}`; if the numbers are, `palette: ignore`"
        " (layout folder or table), or save them without the palette"
    )


SMOOTHED = 0.18
"""Our choice: label maps that were drawn have less than 0.1 such pixels an edge (0.00 at 1024 x 512, 0.08 at 64 x 32);
resized by Lanczos filters or saved as JPEG they have 0.2, by linear interpolation 0.45 to 0.66."""

LEAST_EDGES = 500


def smoothed(labels: Sequence[tuple[Path, LabelFile]]) -> list[str]:
    """A note where ids between those of two classes lie along most of their edges.

    All of these may be legal ids, so no other check finds them. An edge of a map that was drawn or resized by nearest
    neighbour is one step of the ids; smoothing makes several steps in one direction.
    """
    edges, steps = (sum(getattr(label, what) for _, label in labels) for what in ("edges", "steps"))
    if edges < LEAST_EDGES or steps < SMOOTHED * edges:
        return []
    example, _ = max(labels, key=lambda entry: entry[1].steps)
    return [
        f"label {example} and others: along {steps / edges:.0%} of the edges between two ids lie ids between them, as"
        " smoothing makes and drawing does not: they stand for classes that are not there; if the maps were resized, do"
        " it by nearest neighbour, and never save them as JPEG"
    ]


def shows_several_ids(label: LabelFile | str | None) -> bool:
    """Whether a label map shows more than one id; maps of one alone are often equal."""
    return isinstance(label, LabelFile) and np.count_nonzero(label.count) > 1
