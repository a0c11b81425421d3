"""The manifest: one CSV row for each image of a data set, with its label map and its day reference.

The one module that writes, reads and checks manifests. A manifest that exists has been checked: every file in
it was decoded to its end, so that training does not meet a damaged one in its third hour.
"""

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loopda.data.label_files import LABEL_KINDS
from loopda.data.sampling import ahead
from loopda.errors import DataError
from loopda.files import written
from loopda.labels.classes import ClassList
from loopda.labels.png import read_image, read_label
from loopda.signals import interruptible

COLUMNS = ("image", "label", "reference", "encoding", "width", "height", "content")
_REMEDY = "run the stage `prepare` again"


@dataclass(frozen=True)
class Row:
    """One image of a data set. Paths are absolute or relative to the working directory.

    image: a photograph. label: its map of raw ids, or None. reference: the day image of about the same place,
    or None. encoding: how the raw ids become class indices (a name known to the ClassList); "" without a
    label. width, height: of the upright image in its file, in pixels; 0 until `check_rows` has opened it.
    content: a digest of the bytes of its files, so that other pixels make another manifest; "" until then.
    """

    image: Path
    label: Path | None = None
    reference: Path | None = None
    encoding: str = ""
    width: int = 0
    height: int = 0
    content: str = ""


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` as the CSV `path`, atomically; None is an empty field."""
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            label, reference = row.label or "", row.reference or ""
            table.writerow([row.image, label, reference, row.encoding, row.width, row.height, row.content])


def read_manifest(path: Path, *, empty: bool = False) -> list[Row]:
    """The rows of a manifest, in file order; DataError where it is missing, damaged or, unless it may be `empty`,
    without a row."""
    lines, faults = read_table(path, COLUMNS, remedy=_REMEDY, empty=empty)
    rows = []
    for number, line in lines:
        try:
            rows.append(_row(line))
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}; {_REMEDY}")
    if faults:
        raise DataError("\n".join(faults))
    return rows


def _row(line: dict[str, str]) -> Row:
    width, height = int(line["width"]), int(line["height"])
    if not line["image"] or width <= 0 or height <= 0 or bool(line["label"]) != bool(line["encoding"]):
        raise ValueError("not a row that `prepare` writes")
    label = Path(line["label"]) if line["label"] else None
    reference = Path(line["reference"]) if line["reference"] else None
    return Row(Path(line["image"]), label, reference, line["encoding"], width, height, line["content"])


def read_table(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), *, remedy: str, empty: bool = False
) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Read a CSV with a header line: ([(line number, {column: field})], faults), blank lines left out.

    All `required` columns must be there, `optional` ones may be (their fields are "" otherwise), and no
    others. Fields are stripped of blanks around them. A row with too few or too many fields is a fault and
    not among the rows. DataError, which ends in the `remedy`, where no row can be read at all: no file, not a CSV,
    wrong columns, nothing below the header (unless it may be `empty`).
    """
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark before the first column name
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            numbered = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if fields]
    except FileNotFoundError:
        raise DataError(f"{path}: no such table; {remedy}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table in UTF-8: {error}; {remedy}") from None
    header = numbered[0][1] if numbered else []
    if not set(required) <= set(header) <= {*required, *optional} or len(set(header)) != len(header):
        wanted = ",".join(required) + "".join(f"[,{name}]" for name in optional)
        raise DataError(f"{path}: the first line must name the columns {wanted}, not {','.join(header)!r}; {remedy}")
    if len(numbered) == 1 and not empty:
        raise DataError(f"{path}: no rows below the header; {remedy}")
    lines, faults = [], []
    for number, fields in numbered[1:]:
        if len(fields) == len(header):
            empty = dict.fromkeys([*required, *optional], "")
            lines.append((number, empty | dict(zip(header, fields, strict=True))))
        else:
            faults.append(f"{path}, line {number}: {len(fields)} fields, but the header names {len(header)}")
    return lines, faults


@dataclass(frozen=True)
class Checked:
    """What `check_rows` found.

    rows: the rows with width and height filled in (those whose image could be read). references: the different day
    references that could be read, as rows of their own, sorted by path. faults: one line each.
    pixels: (N,) int64, labelled pixels of each class, at the size of the files. ignored: pixels without a
    class.
    """

    rows: list[Row]
    references: list[Row]
    faults: list[str]
    pixels: np.ndarray
    ignored: int


def check_rows(rows: Sequence[Row], classes: ClassList, *, labelled: bool, workers: int | None = None) -> Checked:
    """Open every file of `rows` to its end and list everything that is wrong with them, all at once.

    Faults: an image, label or reference that is missing or cannot be used (see `loopda.labels.png`); a label
    of another size than its image; a raw id that is neither a class nor void; where `labelled`, an image
    without a label, or labels that hold no class in any image; an image or an image/reference pair listed
    twice, a label of two images, an image that is its own label or reference; train ids in files that are
    called labelIds; no rows at all.
    A file that several rows share (many nights have the same day reference) is opened once, by one of
    `workers` threads (default: one for each processor that this process may use): the decoders release
    Python's lock.
    """
    if not rows:
        return Checked([], [], ["no images"], np.zeros(len(classes), dtype=np.int64), 0)
    images = {row.image for row in rows} | {row.reference for row in rows if row.reference}
    labels = {(row.label, row.encoding) for row in rows if row.label}
    workers = workers or _processors()
    image_found = dict(zip(images, interruptible(ahead(_look_at_image, images, workers=workers)), strict=True))
    label_found = dict(zip(labels, interruptible(ahead(_look_at_label, labels, workers=workers)), strict=True))

    faults = _repetitions(rows)
    good: list[Row] = []
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(256, dtype=np.int64))
    for row in rows:
        image = image_found[row.image]
        if isinstance(image, str):
            faults.append(f"image {image}")
        else:
            good.append(replace(row, width=image[0], height=image[1], content=_digest(row)))
        if row.reference and isinstance(image_found[row.reference], str):
            faults.append(f"reference {image_found[row.reference]}; it belongs to the image {row.image}")
        if row.label is None:
            if labelled:
                faults.append(f"image {row.image}: it has no label map, and this data set needs one for each image")
            continue
        label = label_found[row.label, row.encoding]
        if isinstance(label, str):
            faults.append(f"label {label}; it belongs to the image {row.image}")
            continue
        width, height, count = label
        if not isinstance(image, str) and image != (width, height):
            faults.append(
                f"label {row.label}: {width}x{height} pixels, but its image {row.image} has"
                f" {image[0]}x{image[1]}; make them the same size"
            )
        unknown = [value for value in sorted(classes.unknown_ids(row.encoding)) if count[value]]
        if unknown:
            faults.append(
                f"label {row.label}: id {', '.join(map(str, unknown))} is neither a class nor void in the"
                f" encoding {row.encoding!r} of the class list; correct the label, or add the id to the list"
            )
        counts[row.encoding] += count

    pixels, ignored = _by_class(counts, classes)
    if labelled and not faults and not pixels.any():
        faults.append(f"label {rows[0].label} and all others: every pixel is void; these are no usable labels")
    elif labelled and pixels.any():
        faults += _misnamed(rows, counts, classes)
    named = [(path, image_found[path]) for path in sorted({row.reference for row in rows if row.reference})]
    references = [Row(path, width=size[0], height=size[1]) for path, size in named if not isinstance(size, str)]
    references = [replace(row, content=_digest(row)) for row in references]
    return Checked(good, references, faults, pixels, ignored)


def with_reference(row: Row, reference: Path | None) -> Row:
    """A checked row with another reference, or none, and the digest that goes with it."""
    changed = replace(row, reference=reference)
    return replace(changed, content=_digest(changed))


def with_image(row: Row, image: Path) -> Row:
    """A checked row with another image, such as a translation of its own; the label map stays, at the size it has."""
    width, height = read_image(image).size
    changed = replace(row, image=image, width=width, height=height)
    return replace(changed, content=_digest(changed))


def _digest(row: Row) -> str:
    """16 hexadecimal digits of the SHA-256 of the row's files."""
    digest = hashlib.sha256()
    for path in (row.image, row.label, row.reference):
        if path is not None and path.is_file():
            digest.update(path.read_bytes())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def _processors() -> int:
    """How many processors this process may use: in a cluster job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _look_at_image(path: Path) -> tuple[int, int] | str:
    """(width, height), or what is wrong."""
    try:
        return read_image(path).size
    except DataError as error:
        return str(error)


def _look_at_label(label: tuple[Path, str]) -> tuple[int, int, np.ndarray] | str:
    """(width, height, pixels of each of the 256 raw ids), or what is wrong."""
    try:
        raw = read_label(*label)
    except DataError as error:
        return str(error)
    return raw.shape[1], raw.shape[0], np.bincount(raw.ravel(), minlength=256)


def _by_class(counts: dict[str, np.ndarray], classes: ClassList) -> tuple[np.ndarray, int]:
    pixels = np.zeros(len(classes), dtype=np.int64)
    ignored = 0
    for encoding, count in counts.items():
        ids = classes.encoding(encoding).ids
        of_class = np.array([count[list(values)].sum() for values in ids], dtype=np.int64)
        pixels += of_class
        ignored += int(count.sum() - of_class.sum())
    return pixels, ignored


def _misnamed(rows: Sequence[Row], counts: dict[str, np.ndarray], classes: ClassList) -> list[str]:
    """A fault where files that are called labelIds hold train ids.

    Each train id is a legal label id too, so no single file tells. But a set of label ids in which none is over 18
    shows no vegetation, sky, person or car at all; if most of its pixels are void besides, and fewer would be as train
    ids, they are train ids.
    """
    stated, meant = LABEL_KINDS
    if stated not in counts or not {stated, meant} <= classes.encodings.keys():
        return []
    count = counts[stated]
    void, void_if_meant = (count[sorted(classes.void_ids(kind))].sum() for kind in (stated, meant))
    if count[sorted(classes.unknown_ids(meant))].any() or 2 * void <= count.sum() or void_if_meant >= void:
        return []
    example = next(row.label for row in rows if row.encoding == stated)
    return [
        f"label {example} and all others of its kind: as {stated}, {void / count.sum():.0%} of their pixels are void"
        f" and none shows a class over id 18; they look like {meant}: give them names that end in _{meant}.png"
    ]


def _repetitions(rows: Sequence[Row]) -> list[str]:
    """Faults of rows that repeat each other, or name one file in two roles."""
    faults = []
    by_image: dict[str, list[Row]] = defaultdict(list)
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        image = os.path.abspath(row.image)  # two spellings of one path are one file
        by_image[image].append(row)
        if row.label:
            by_label[os.path.abspath(row.label)].append(row)
            if os.path.abspath(row.label) == image:
                faults.append(f"image {row.image}: it is listed as its own label map")
        if row.reference and os.path.abspath(row.reference) == image:
            faults.append(f"image {row.image}: it is listed as its own day reference")
    for same in by_image.values():
        if len(same) > 1:
            references = {row.reference for row in same}
            if len(references) > 1:
                what = f"with {len(references)} different references; keep one"
            else:
                what = f"{len(same)} times" + (" with the same reference" if same[0].reference else "") + "; keep one"
            faults.append(f"image {same[0].image}: it is listed {what}")
    for same in by_label.values():
        images = sorted({os.path.abspath(row.image) for row in same})
        if len(images) > 1:
            faults.append(f"label {same[0].label}: it is listed for several images ({', '.join(images[:2])}, ...)")
    return faults
