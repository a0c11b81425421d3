"""The manifest: one CSV row for each image of a data set, with its label map and its day reference.

The one module that writes, reads and checks manifests. A manifest that exists has been checked: every file in
it was decoded to its end, so that training does not meet a damaged one in its third hour.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loopda.data.label_files import LABEL_KINDS
from loopda.data.listing import read_fields
from loopda.data.sampling import ahead
from loopda.errors import DataError
from loopda.labels.classes import COLOURS, ClassList
from loopda.labels.png import read_image, read_raw_label, read_upright
from loopda.runtime.files import sha256, written
from loopda.runtime.signals import interruptible
from loopda.text.names import faults_of_names

COLUMNS = ("image", "label", "reference", "encoding", "width", "height", "content")
_REMEDY = "run the stage `prepare` again"


@dataclass(frozen=True)
class Row:
    """One image of a data set. Paths are absolute or relative to the working directory.

    image: a photograph. label: its map of raw ids, or None. reference: the day image of about the same place,
    or None. encoding: how the raw ids become class indices (a name known to the ClassList); "" without a
    label. width, height: of the upright image in its file, in pixels; 0 until `check_rows` has opened it.
    content: digests of the bytes of image, label and reference, so that other pixels make another manifest, and one
    picture is known under two names; "" until then.
    """

    image: Path
    label: Path | None = None
    reference: Path | None = None
    encoding: str = ""
    width: int = 0
    height: int = 0
    content: str = ""

    @property
    def image_content(self) -> str:
        """The digest of the image's file; "" until `check_rows` has opened it."""
        return self.content.partition(":")[0]

    @property
    def label_content(self) -> str:
        """The digest of the label's file; "" where there is none, or until `check_rows` has opened it."""
        return self.content.split(":")[1] if self.label else ""

    @property
    def reference_content(self) -> str:
        """The digest of the reference's file; "" where there is none, or until `check_rows` has opened it."""
        return self.content.rpartition(":")[2]


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
    others; the header's letters may be large. Fields are stripped of blanks around them (`listing.read_fields`).
    A row with too few or too many fields is a fault and
    not among the rows. DataError, which ends in the `remedy`, where no row can be read at all: no file, not a CSV,
    wrong columns, nothing below the header (unless it may be `empty`).
    """
    try:
        numbered = [(number, fields) for number, fields in read_fields(path) if fields]
    except FileNotFoundError:
        raise DataError(f"{path}: no such table; {remedy}") from None
    except DataError as error:
        raise DataError(f"{error}; {remedy}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table: {error}; {remedy}") from None
    header = [name.lower() for name in numbered[0][1]] if numbered else []
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
            faults.append(
                f"{path}, line {number}: {len(fields)} fields, but the header names {len(header)}; put a path with"
                " commas in it in quotes, and leave a field that is not there empty"
            )
    return lines, faults


@dataclass(frozen=True)
class Checked:
    """What `check_rows` found.

    rows: the rows with width and height filled in (those whose image could be read). references: the different day
    references that could be read, as rows of their own, sorted by path. faults: one line each.
    pixels: (N,) int64, labelled pixels of each class, at the size of the files. ignored: pixels without a
    class. notes: what is no fault, but what the user should know, one line each.
    """

    rows: list[Row]
    references: list[Row]
    faults: list[str]
    pixels: np.ndarray
    ignored: int
    notes: list[str] = field(default_factory=list)


def check_rows(
    rows: Sequence[Row],
    classes: ClassList,
    *,
    labelled: bool,
    stated: bool = False,
    ignore_palettes: bool = False,
    workers: int | None = None,
) -> Checked:
    """Open every file of `rows` to its end and list everything that is wrong with them, all at once.

    Faults: an image, label or reference that is missing or cannot be used (see `loopda.labels.png`); a label
    of another size than its image; a raw id that is neither a class nor void; where `labelled`, an image
    without a label, or labels that hold no class in any image; an image or an image/reference pair listed
    twice, a label of two images, an image that is its own label or reference; labels whose palettes contradict their
    numbers (a note where `ignore_palettes`); train ids for sure in files that are called labelIds, unless the user has
    `stated` the encoding; no rows at all. Names that no table can hold, or not so that every process reads the same
    (`loopda.text.names`), are the only faults where there are any.
    Notes: train ids perhaps, or for sure where an encoding is stated; images of both orientations in one set; one
    picture under several names, or as its own reference; labelled images that EXIF turns; equal label maps of different
    images; label maps that were smoothed.
    A file that several rows share (many nights have the same day reference) is opened once, by one of
    `workers` threads (default: one for each processor that this process may use): the decoders release
    Python's lock.
    """
    if not rows:
        return Checked([], [], ["no images"], np.zeros(len(classes), dtype=np.int64), 0)
    named = [path for row in rows for path in (row.image, row.label, row.reference) if path]
    if unfit := faults_of_names(named):
        return Checked([], [], unfit, np.zeros(len(classes), dtype=np.int64), 0)
    images = {row.image for row in rows} | {row.reference for row in rows if row.reference}
    labels = {(row.label, row.encoding) for row in rows if row.label}
    workers = workers or _processors()

    def look_at_label(label: tuple[Path, str]) -> _LabelFile | str:
        return _look_at_label(*label, classes)

    image_found = dict(zip(images, interruptible(ahead(_look_at_image, images, workers=workers)), strict=True))
    label_found = dict(zip(labels, interruptible(ahead(look_at_label, labels, workers=workers)), strict=True))

    faults = _repetitions(rows)
    good: list[Row] = []
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(256, dtype=np.int64))
    for row in rows:
        image = image_found[row.image]
        reference = image_found[row.reference] if row.reference else None
        label = label_found[row.label, row.encoding] if row.label else None
        if isinstance(image, str):
            faults.append(f"image {image}")
        else:
            content = ":".join(getattr(one, "digest", "") for one in (image, label, reference))
            good.append(replace(row, width=image.width, height=image.height, content=content))
        if isinstance(reference, str):
            faults.append(f"reference {reference}; it belongs to the image {row.image}")
        if label is None:
            if labelled:
                faults.append(f"image {row.image}: it has no label map, and this data set needs one for each image")
            continue
        if isinstance(label, str):
            faults.append(f"label {label}; it belongs to the image {row.image}")
            continue
        if not isinstance(image, str) and (image.width, image.height) != (label.width, label.height):
            faults.append(_other_size(row, image, label))
        unknown = [value for value in sorted(classes.unknown_ids(row.encoding)) if label.count[value]]
        if unknown:
            faults.append(_unknown_ids(row, unknown))
        counts[row.encoding] += label.count

    by_palette, notes = _contradicted_by_palettes(label_found, classes), []
    (notes if ignore_palettes else faults).extend(by_palette)
    pixels, ignored = _by_class(counts, classes)
    if labelled and not faults and not pixels.any():
        faults.append(f"label {rows[0].label} and all others: every pixel is void; these are no usable labels")
    elif labelled and pixels.any():
        sure, perhaps = _misnamed(rows, counts, classes, stated=stated)
        faults += sure
        notes += perhaps
    notes += [
        *_own_references(good),
        *_mixed_orientations(good),
        *_same_pictures(good),
        *_turned_beside_labels(good, image_found),
        *_same_labels([row for row in good if row.label and _shows_several(label_found[row.label, row.encoding])]),
        *_smoothed([(path, label) for (path, _), label in label_found.items() if not isinstance(label, str)]),
    ]
    references = [
        Row(path, width=one.width, height=one.height, content=f"{one.digest}::")
        for path, one in (
            (path, image_found[path]) for path in sorted({row.reference for row in rows if row.reference})
        )
        if not isinstance(one, str)
    ]
    return Checked(good, references, faults, pixels, ignored, notes)


def same_pictures(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[Path, Path]]:
    """(image, its twin) for each image of the checked rows `first` that is in `second` too: the same path however it is
    spelt, a link to it, or a copy of the file."""
    twins: dict[str, Path] = {}
    for row in second:
        for key in _identities(row):
            twins.setdefault(key, row.image)
    found = []
    for row in first:
        twin = next((twins[key] for key in _identities(row) if key in twins), None)
        if twin is not None:
            found.append((row.image, twin))
    return found


def same_labels(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[Path, Path]]:
    """(label, its twin) for each label map of the checked rows `first` that is one of `second` too, by path or link,
    where it belongs to another image."""
    twins = {os.path.realpath(row.label): row for row in second if row.label}
    found = [(row, twins.get(os.path.realpath(row.label))) for row in first if row.label]
    return [(row.label, twin.label) for row, twin in found if twin and row.image_content != twin.image_content]


def _identities(row: Row) -> list[str]:
    """What two rows of one picture have in common, the path first."""
    paths = [os.path.abspath(row.image), os.path.realpath(row.image)]
    return [*paths, row.image_content] if row.image_content else paths


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
    """The digests of the row's files, joined by colons; nothing for one that is not there."""
    return ":".join(_digest_of(path) for path in (row.image, row.label, row.reference))


def _digest_of(path: Path | None) -> str:
    """16 hexadecimal digits of the SHA-256 of a file; "" without one."""
    return sha256(path)[:16] if path is not None and path.is_file() else ""


def _processors() -> int:
    """How many processors this process may use: in a cluster job fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _ImageFile(NamedTuple):
    width: int
    height: int
    orientation: int  # EXIF, 1 = its pixels are upright in the file
    digest: str


class _LabelFile(NamedTuple):
    width: int
    height: int
    count: np.ndarray  # pixels of each of the 256 raw ids
    palette: bytes | None  # three bytes for each id
    digest: str
    edges: int  # pairs of neighbours in a row with different ids
    steps: int  # pixels whose id lies between those of their two neighbours in the row


def _look_at_image(path: Path) -> _ImageFile | str:
    """An image, or what is wrong with it."""
    try:
        image, orientation = read_upright(path)
    except DataError as error:
        return str(error)
    return _ImageFile(image.width, image.height, orientation, _digest_of(path))


def _look_at_label(path: Path, encoding: str, classes: ClassList) -> _LabelFile | str:
    """A label map, or what is wrong with it."""
    try:
        ids, palette = read_raw_label(path, encoding, classes)
    except DataError as error:
        return str(error)
    count = np.bincount(ids.ravel(), minlength=256)
    rising = np.sign(np.diff(ids.astype(np.int16), axis=1)).astype(np.int8)
    edges, steps = np.count_nonzero(rising), np.count_nonzero(rising[:, 1:] * rising[:, :-1] > 0)
    return _LabelFile(
        ids.shape[1],
        ids.shape[0],
        count,
        None if palette is None else palette.tobytes(),
        _digest_of(path),
        edges,
        steps,
    )


def _unknown_ids(row: Row, ids: list[int]) -> str:
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


FEW_IDS = 10
"""Our choice: a label map with more unknown ids is not one in which some are wrong."""


def _other_size(row: Row, image: _ImageFile, label: _LabelFile) -> str:
    fault = (
        f"label {row.label}: {label.width}x{label.height} pixels, but its image {row.image} has"
        f" {image.width}x{image.height}"
    )
    if (image.width, image.height) != (label.height, label.width):
        return f"{fault}; make them the same size"
    if image.orientation != 1:
        return (
            f"{fault} since its EXIF tag turns it (orientation {image.orientation}), and the label is not turned; turn"
            " the label like it, or save the image without the tag"
        )
    return f"{fault}; make them the same size: turn one of them by 90 degrees"


def _by_class(counts: dict[str, np.ndarray], classes: ClassList) -> tuple[np.ndarray, int]:
    pixels = np.zeros(len(classes), dtype=np.int64)
    ignored = 0
    for encoding, count in counts.items():
        ids = classes.encoding(encoding).ids
        of_class = np.array([count[list(values)].sum() for values in ids], dtype=np.int64)
        pixels += of_class
        ignored += int(count.sum() - of_class.sum())
    return pixels, ignored


def _misnamed(
    rows: Sequence[Row], counts: dict[str, np.ndarray], classes: ClassList, *, stated: bool
) -> tuple[list[str], list[str]]:
    """(faults, notes) where files that are called labelIds hold train ids, for sure or perhaps. Where the user has
    `stated` that they are labelIds, that is what they are, and what is sure else is a note.

    Each train id is a legal label id too, so no single file tells. But a set of label ids in which none is over 18
    shows no vegetation, sky, person or car at all. If most of its pixels are void besides, and fewer would be as train
    ids, they may be train ids, or maps in which little but roads is drawn. Sure is it where many pixels have the ids of
    a parking, a rail track, a guard rail, a bridge, a tunnel or a pole group, which fill little of label ids; as train
    ids these are terrain, sky, truck, bus, train and bicycle.
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


RARE = 0.05
"""Our choice: a share of pixels that these ids of label ids hardly ever fill."""

_OVER_TRAIN_IDS = slice(19, 255)
_RARE_LABEL_IDS = [9, 10, 14, 15, 16, 18]


def _contradicted_by_palettes(labels: Mapping[tuple[Path, str], _LabelFile | str], classes: ClassList) -> list[str]:
    """A line for each encoding of whose label files some have palettes that give their numbers other classes' colours.

    Files with the same palette are judged together: what one of them shows may be too little.
    """
    of_palette: dict[tuple[str, bytes], list[tuple[Path, np.ndarray]]] = defaultdict(list)
    for (path, encoding), label in labels.items():
        if not isinstance(label, str) and label.palette is not None:
            of_palette[encoding, label.palette].append((path, label.count))
    wrong: dict[str, list[tuple[Path, list[str]]]] = defaultdict(list)
    for (encoding, palette), files in of_palette.items():
        found = np.flatnonzero(sum(count for _, count in files)).tolist()
        if lines := classes.contradicted(encoding, np.frombuffer(palette, dtype=np.uint8).reshape(-1, 3), found):
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


def _own_references(rows: Sequence[Row]) -> list[str]:
    """A note where the day reference of an image is a copy of it, or a link to it."""
    own = [row for row in rows if row.reference and row.image_content == row.reference_content]
    if not own:
        return []
    return [
        f"{len(own)} of {len(rows)} images have themselves for a day reference, by link or copy, such as {own[0].image}"
        f" (which is {own[0].reference}); name the day images, or none"
    ]


def _mixed_orientations(rows: Sequence[Row]) -> list[str]:
    """A note where some images are taller than wide, and others are not."""
    upright = [row for row in rows if row.height > row.width]
    wide = [row for row in rows if row.width > row.height]
    if not upright or not wide:
        return []
    return [
        f"{len(upright)} of {len(rows)} images are upright and {len(wide)} are wide, such as {_sized(upright[0])} and"
        f" {_sized(wide[0])}: all are resized to one size, which squeezes those of the other shape; turn them, crop"
        " them, or leave them out"
    ]


def _sized(row: Row) -> str:
    return f"{row.image} ({row.width}x{row.height})"


def _same_pictures(rows: Sequence[Row]) -> list[str]:
    """A note where one picture has several names in a set."""
    by_content: dict[str, list[Path]] = defaultdict(list)
    for row in rows:
        by_content[row.image_content].append(row.image)
    repeated = [images for images in by_content.values() if len({*map(os.path.abspath, images)}) > 1]
    if not repeated:
        return []
    first, second = repeated[0][:2]
    more = sum(len(images) - 1 for images in repeated)
    return [
        f"{more} of {len(rows)} images repeat another under a second name, by link or copy, such as"
        f" {second} (which is {first}): each counts twice; leave one out"
    ]


def _turned_beside_labels(rows: Sequence[Row], images: Mapping[Path, _ImageFile | str]) -> list[str]:
    """A note where EXIF tags turn images that have labels: whether the labels were turned too, only eyes can tell."""
    turned = [row for row in rows if row.label and images[row.image].orientation != 1]
    if not turned:
        return []
    return [
        f"{len(turned)} of {len(rows)} labelled images are turned upright by their EXIF tag, such as {turned[0].image}"
        f" (orientation {images[turned[0].image].orientation}): their labels must be upright too; look at the contact"
        " sheet"
    ]


def _shows_several(label: _LabelFile | str) -> bool:
    """Whether a label map shows more than one id; maps of one alone are often equal."""
    return not isinstance(label, str) and np.count_nonzero(label.count) > 1


def _same_labels(rows: Sequence[Row]) -> list[str]:
    """A note where different images of `rows` have equal label maps, by link or copy."""
    by_content: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.label_content:
            by_content[row.label_content].setdefault(row.image_content, row)
    repeated = [list(alike.values()) for alike in by_content.values() if len(alike) > 1]
    if not repeated:
        return []
    first, second = repeated[0][:2]
    return [
        f"{sum(map(len, repeated))} of {len(rows)} images share a label map with another image, by link or copy, such"
        f" as {second.image} (whose {second.label} is {first.label}): right only where both show the same scene"
    ]


def _smoothed(labels: Sequence[tuple[Path, _LabelFile]]) -> list[str]:
    """A note where ids between those of two classes lie along most of their edges.

    All of these may be legal ids, so that nothing else tells. An edge of a map that was drawn or resized by nearest
    neighbour is one step of the ids; smoothing makes several steps in one direction.
    """
    edges, steps = (sum(getattr(label, what) for _, label in labels) for what in ("edges", "steps"))
    if edges < LEAST_EDGES or steps < SMOOTHED * edges:
        return []
    example, _ = max(labels, key=lambda one: one[1].steps)
    return [
        f"label {example} and others: along {steps / edges:.0%} of the edges between two ids lie ids between them, as"
        " smoothing makes and drawing does not: they stand for classes that are not there; if the maps were resized, do"
        " it by nearest neighbour, and never save them as JPEG"
    ]


SMOOTHED = 0.18
"""Our choice: label maps that were drawn have less than 0.1 such pixels an edge (0.00 at 1024 x 512, 0.08 at 64 x 32);
resized by Lanczos filters or saved as JPEG they have 0.2, by linear interpolation 0.45 to 0.66."""
LEAST_EDGES = 500


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
