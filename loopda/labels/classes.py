"""The class list: names, colours, groups, and the encodings that map the raw values of a label file to class indices.

A class index is 0 .. N-1, in the order of the list, everywhere in the package. IGNORE marks pixels without a class.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopda.errors import ConfigError, DataError
from loopda.text.names import has_control_characters

IGNORE = 255

INDICES = "indices"
"""An encoding of every class list: the file holds class indices, and 255 for pixels without a class."""

COLOURS = "colours"
"""An encoding of every class list: the file shows the colours of the classes. `labels.png` reads them as class indices,
and a void colour as 255."""

SYNTHIA = "synthia"
"""The encoding of SYNTHIA's label files: ids 0 .. 22 in the first of three channels of 16 bits (`labels.png`)."""

MOST_CLASSES = 254
"""Indices 0 .. 253: 255 is IGNORE, and 254 is free for counting pixels without a class."""

UNKNOWN = 254
"""The entry of `ClassList.colour_table` for a colour that is neither of a class nor void."""

BLACK = (0, 0, 0)
"""Void in every class list without a black class; `ClassList.palette` draws void pixels black."""


@dataclass(frozen=True)
class Encoding:
    """A map from the raw 8-bit values of a label file to class indices.

    ids: the raw values of each class, in the order of the classes; a class may have none. void: legal values without a
    class. Any other value is an error in the file.
    """

    ids: tuple[tuple[int, ...], ...]
    void: frozenset[int]


@dataclass(frozen=True)
class ClassList:
    """The classes of an experiment.

    names: one per class. colours: red, green, blue in 0 .. 255, one per class.
    dynamic: indices of the classes that move (LoopDA, section 3.2, treats them differently from the static ones).
    ssc: indices of the shift sensitive classes: static, but so thin that a small shift of the camera misplaces them.
    encodings: the encodings of label files, by name; `indices` and `colours` are always available besides.
    void_colours: colours without a class in label maps that show colours, besides BLACK.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    dynamic: frozenset[int]
    ssc: frozenset[int]
    encodings: Mapping[str, Encoding]
    void_colours: frozenset[tuple[int, int, int]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a list that contradicts itself with a ConfigError that names every fault."""
        faults = _faults(self)
        if faults:
            raise ConfigError("\n".join(f"class list: {fault}" for fault in faults))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def static(self) -> frozenset[int]:
        """Indices of the classes that are not dynamic."""
        return frozenset(range(len(self))) - self.dynamic

    def encoding(self, name: str) -> Encoding:
        """The encoding called `name`; ConfigError where the list has none of that name."""
        if name in (INDICES, COLOURS):
            return _identity(len(self))
        try:
            return self.encodings[name]
        except KeyError:
            known = ", ".join([*self.encodings, INDICES, COLOURS])
            raise ConfigError(f"class list: no label encoding {name!r}; it has {known}") from None

    def lookup_table(self, encoding: str) -> np.ndarray:
        """(256,) uint8: raw value -> class index, IGNORE for values without a class. `table[raw]` decodes a map."""
        table = np.full(256, IGNORE, dtype=np.uint8)
        for index, ids in enumerate(self.encoding(encoding).ids):
            table[list(ids)] = index
        return table

    def raw_ids(self, encoding: str) -> np.ndarray:
        """(256,) uint8: class index -> raw value, the inverse of `lookup_table`; of several raw values, the first.

        `table[label]` encodes a map; IGNORE stays IGNORE. ConfigError where a class has no raw value, and for COLOURS.
        """
        if encoding == COLOURS:
            raise ConfigError(f"class list: {COLOURS!r} is no encoding to write; choose one of numbers, or a picture")
        table = np.full(256, IGNORE, dtype=np.uint8)
        ids = self.encoding(encoding).ids
        without = [name for name, values in zip(self.names, ids, strict=True) if not values]
        if without:
            raise ConfigError(f"class list: the encoding {encoding!r} has no id for {', '.join(without)}")
        table[: len(self)] = [values[0] for values in ids]
        return table

    def void_ids(self, encoding: str) -> frozenset[int]:
        """Legal raw values without a class; they become IGNORE."""
        return self.encoding(encoding).void

    def unknown_ids(self, encoding: str) -> frozenset[int]:
        """Raw values that are neither a class nor void: a file that holds one of them is not in this encoding."""
        known = self.encoding(encoding)
        return frozenset(range(256)) - known.void - {value for ids in known.ids for value in ids}

    def subset(self, keep: Sequence[str]) -> "ClassList":
        """The classes named in `keep`, in that order; all other classes become void in every encoding.

        ConfigError where a name is unknown, or occurs twice.
        """
        unknown = [name for name in keep if name not in self.names]
        if unknown:
            raise ConfigError(f"class list: no class {', '.join(unknown)}; the classes are {', '.join(self.names)}")
        if twice := _repeated(keep):
            raise ConfigError(f"class list: `keep` names {', '.join(map(repr, twice))} twice; once is enough")
        kept = [self.names.index(name) for name in keep]
        encodings = {}
        for name, encoding in self.encodings.items():
            dropped = {value for index, ids in enumerate(encoding.ids) if index not in kept for value in ids}
            encodings[name] = Encoding(tuple(encoding.ids[index] for index in kept), encoding.void | dropped)
        dropped_colours = {colour for index, colour in enumerate(self.colours) if index not in kept}
        return ClassList(
            names=tuple(keep),
            colours=tuple(self.colours[index] for index in kept),
            dynamic=frozenset(new for new, old in enumerate(kept) if old in self.dynamic),
            ssc=frozenset(new for new, old in enumerate(kept) if old in self.ssc),
            encodings=encodings,
            void_colours=self.void_colours | dropped_colours,
        )

    def colour_table(self) -> np.ndarray:
        """(2^24,) uint8: red * 65536 + green * 256 + blue -> class index, IGNORE for void, UNKNOWN for all others."""
        table = np.full(1 << 24, UNKNOWN, dtype=np.uint8)
        for red, green, blue in {BLACK, *self.void_colours}:
            table[red << 16 | green << 8 | blue] = IGNORE
        for index, (red, green, blue) in enumerate(self.colours):
            table[red << 16 | green << 8 | blue] = index
        return table

    def palette_contradictions(self, encoding: str, palette: np.ndarray, found: Sequence[int]) -> list[str]:
        """The contradictions between the `palette` (N, 3) of a label file and its ids; [] where there are none.

        found: the raw ids in the file. Each line names one of them to which the palette gives the colour of another
        class than the id means in `encoding`. The palette is evidence only where at least half of the ids found have
        the colour of a class. A colour that many palettes have at the same place is no evidence: black, a grey ramp,
        the palette of PASCAL VOC. Nor is a colour that the palette also gives to an id of its own class: Cityscapes
        draws a licence plate in the colour of a car.
        """
        if encoding == COLOURS:
            return []
        of_id = self.lookup_table(encoding)
        colours = {tuple(colour): index for index, colour in enumerate(self.colours)}
        by_palette = [colours.get(colour) for colour in map(tuple, palette.tolist())]
        shown = {index for raw, index in enumerate(by_palette) if index is not None and of_id[raw] == index}
        lines, agreeing, silent = [], 0, 0
        for raw in found:
            if raw >= len(palette) or _is_common(raw, palette[raw]):
                continue
            index = by_palette[raw]
            if index is None:
                silent += of_id[raw] != IGNORE
            elif index in shown:
                agreeing += 1
            else:
                meant = self.names[of_id[raw]] if of_id[raw] != IGNORE else "void"
                lines.append(f"{raw} means {meant}, and has the colour of {self.names[index]}")
        return lines if len(lines) + agreeing >= silent else []

    def palette(self) -> np.ndarray:
        """(256, 3) uint8: class index -> colour; black where there is no class."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(self)] = self.colours
        return table

    def colour_map(self, label: np.ndarray) -> np.ndarray:
        """(H, W) uint8 class indices -> (H, W, 3) uint8 colours; IGNORE is black."""
        return self.palette()[label]

    def to_json(self) -> dict[str, Any]:
        """The list as dicts, lists, strings and numbers, for classes.json and for checkpoints."""
        return {
            "names": list(self.names),
            "colours": [list(colour) for colour in self.colours],
            "dynamic": sorted(self.dynamic),
            "ssc": sorted(self.ssc),
            "encodings": {
                name: {"ids": [list(ids) for ids in encoding.ids], "void": sorted(encoding.void)}
                for name, encoding in self.encodings.items()
            },
            "void_colours": sorted(list(colour) for colour in self.void_colours),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ClassList":
        """The inverse of `to_json`; DataError where `value` is not such an object."""
        try:
            return cls(
                names=tuple(value["names"]),
                colours=tuple(tuple(colour) for colour in value["colours"]),
                dynamic=frozenset(value["dynamic"]),
                ssc=frozenset(value["ssc"]),
                encodings={
                    name: Encoding(tuple(tuple(ids) for ids in parts["ids"]), frozenset(parts["void"]))
                    for name, parts in value["encodings"].items()
                },
                # class lists in checkpoints of earlier versions have no void colours
                void_colours=frozenset(tuple(colour) for colour in value.get("void_colours", [])),
            )
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise DataError(f"not a class list: {type(error).__name__}: {error}") from None


def _is_common(raw: int, colour: np.ndarray) -> bool:
    """Whether many palettes have this entry at `raw`, whatever the ids mean."""
    return not colour.any() or tuple(colour) in {(raw, raw, raw), _of_voc(raw)}


def _of_voc(raw: int) -> tuple[int, int, int]:
    """The colour of index `raw` in the palette of PASCAL VOC: its bits go in turn to the high bits of each channel."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (raw >> bit & 1) << 7 - bit // 3
    return channels[0], channels[1], channels[2]


def _identity(count: int) -> Encoding:
    return Encoding(tuple((index,) for index in range(count)), frozenset({IGNORE}))


def _faults(classes: ClassList) -> list[str]:
    count = len(classes.names)
    faults = []
    if count == 0:
        faults.append("it is empty")
    if count > MOST_CLASSES:
        faults.append(f"{count} classes; at most {MOST_CLASSES} fit beside the value {IGNORE} for ignored pixels")
    faults += [f"the name {name!r} occurs twice" for name in _repeated(classes.names)]
    faults += [
        f"the name {name!r} is empty, or has a line break or a blank at an end; write a word"
        for name in classes.names
        if not name or name != name.strip() or has_control_characters(name)
    ]
    if len(classes.colours) != count:
        faults.append(f"{count} names but {len(classes.colours)} colours")
    wrong = [
        (name, colour)
        for name, colour in zip(classes.names, classes.colours, strict=False)
        if len(colour) != 3 or not all(_is_byte(part) for part in colour)
    ]
    faults += [f"{name}: colour {list(colour)} is not three whole numbers of 0 .. 255" for name, colour in wrong]
    faults += [f"the colour {list(colour)} occurs twice" for colour in _repeated(classes.colours)]
    faults += [
        f"the void colour {list(colour)} is not three whole numbers of 0 .. 255, or it is a class's"
        for colour in sorted(classes.void_colours)
        if len(colour) != 3 or not all(_is_byte(part) for part in colour) or colour in classes.colours
    ]
    for group, members in (("dynamic", classes.dynamic), ("shift sensitive", classes.ssc)):
        faults += [
            f"{group} class {index} is not in 0 .. {count - 1}" for index in members if index not in range(count)
        ]
    faults += [
        f"{classes.names[index]}: a shift sensitive class is static by definition, but it is called dynamic"
        for index in sorted(classes.ssc & classes.dynamic)
        if index in range(count)
    ]
    for name, encoding in classes.encodings.items():
        if name in (INDICES, COLOURS):
            faults.append(f"the encoding name {name!r} is reserved")
        if len(encoding.ids) != count:
            faults.append(f"encoding {name}: {count} classes but ids for {len(encoding.ids)}")
        values = [value for ids in encoding.ids for value in ids] + sorted(encoding.void)
        faults += [f"encoding {name}: id {value} is not in 0 .. 255" for value in values if not _is_byte(value)]
        faults += [
            f"encoding {name}: id {value} stands for {_meanings(classes, encoding, value)}"
            for value in _repeated(values)
        ]
    return faults


def _meanings(classes: ClassList, encoding: Encoding, value: int) -> str:
    """The meanings of a raw id that occurs several times, with the remedy."""
    names = [name for name, ids in zip(classes.names, encoding.ids, strict=False) for raw in ids if raw == value]
    if value not in encoding.void:
        return f"{' and '.join(names)}; give each class ids of its own"
    only = " (what it is where the list does not say)" if encoding.void == {IGNORE} else ""
    return f"{' and '.join(names)}, and is void{only}; take it out of one: `void: []` is a list without any"


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _repeated(values: Any) -> list[Any]:
    return [value for value, times in Counter(values).items() if times > 1]


# The 19 evaluated classes of Cityscapes (cityscapesScripts, helpers/labels.py) in the order of the train ids: name,
# labelId, colour, and the id in SYNTHIA-RAND-CITYSCAPES (its README; 16, 18 and 20 are named there, but no pixel of the
# 9400 images has them). Dynamic and shift sensitive groups: LoopDA, section 3.2.
_CITYSCAPES = (
    ("road", 7, (128, 64, 128), 3),
    ("sidewalk", 8, (244, 35, 232), 4),
    ("building", 11, (70, 70, 70), 2),
    ("wall", 12, (102, 102, 156), 21),
    ("fence", 13, (190, 153, 153), 5),
    ("pole", 17, (153, 153, 153), 7),
    ("traffic light", 19, (250, 170, 30), 15),
    ("traffic sign", 20, (220, 220, 0), 9),
    ("vegetation", 21, (107, 142, 35), 6),
    ("terrain", 22, (152, 251, 152), 16),
    ("sky", 23, (70, 130, 180), 1),
    ("person", 24, (220, 20, 60), 10),
    ("rider", 25, (255, 0, 0), 17),
    ("car", 26, (0, 0, 142), 8),
    ("truck", 27, (0, 0, 70), 18),
    ("bus", 28, (0, 60, 100), 19),
    ("train", 31, (0, 80, 100), 20),
    ("motorcycle", 32, (0, 0, 230), 12),
    ("bicycle", 33, (119, 11, 32), 11),
)

# labelIds of Cityscapes that are not evaluated; -1 (licence plate) is 255 in an 8-bit file. 34 is GTA5's
# licence plate: its labels use the Cityscapes ids otherwise.
_CITYSCAPES_VOID = frozenset({*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 34, IGNORE})

# Void, parking slot, road works and lane marking of SYNTHIA.
_SYNTHIA_VOID = frozenset({0, 13, 14, 22})

# The other colours of cityscapesScripts' label maps. A pole group has the colour of a pole, and a licence plate that of
# a car: label maps in colours cannot distinguish them.
_CITYSCAPES_VOID_COLOURS = frozenset(
    {
        (111, 74, 0),  # dynamic
        (81, 0, 81),  # ground
        (250, 170, 160),  # parking
        (230, 150, 140),  # rail track
        (180, 165, 180),  # guard rail
        (150, 100, 100),  # bridge
        (150, 120, 90),  # tunnel
        (0, 0, 90),  # caravan
        (0, 0, 110),  # trailer
    }
)

CITYSCAPES = ClassList(
    names=tuple(name for name, _, _, _ in _CITYSCAPES),
    colours=tuple(colour for _, _, colour, _ in _CITYSCAPES),
    dynamic=frozenset(range(11, 19)),
    ssc=frozenset({5, 6, 7}),
    encodings={
        "labelIds": Encoding(tuple((label_id,) for _, label_id, _, _ in _CITYSCAPES), _CITYSCAPES_VOID),
        "labelTrainIds": _identity(len(_CITYSCAPES)),
        SYNTHIA: Encoding(tuple((synthia_id,) for _, _, _, synthia_id in _CITYSCAPES), _SYNTHIA_VOID),
    },
    void_colours=_CITYSCAPES_VOID_COLOURS,
)
