"""The files of a class list: the YAML file that a person writes, and the classes.json that `prepare` makes of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from loopda.config import Section, expanded, parse_section, read_yaml
from loopda.errors import ConfigError, DataError
from loopda.labels.classes import CITYSCAPES, IGNORE, ClassList, Encoding
from loopda.runtime.files import write_json

_Byte = Annotated[int, Field(ge=0, le=255)]


class _ClassEntry(Section):
    name: Annotated[str, Field(min_length=1)]
    colour: tuple[_Byte, _Byte, _Byte]
    ids: Annotated[tuple[_Byte, ...], Field(min_length=1)]
    group: Literal["static", "dynamic"]
    shift_sensitive: bool = False


class _ClassFile(Section):
    classes: tuple[_ClassEntry, ...]
    encoding: Annotated[str, Field(min_length=1)] = "ids"
    void: tuple[_Byte, ...] = (IGNORE,)
    void_colours: tuple[tuple[_Byte, _Byte, _Byte], ...] = ()


class _SubsetFile(Section):
    base: Literal["cityscapes"]
    keep: Annotated[tuple[str, ...], Field(min_length=1)]


def read_classes(path: Path) -> ClassList:
    """Read a class list from YAML; ConfigError names every wrong key.

    The file holds either some classes of Cityscapes, in the order of `keep`. Pixels of the other classes are void, in
    training and in evaluation:

    ```yaml
    base: cityscapes
    keep: [road, sidewalk, building, person, car]
    ```

    Or it holds any classes at all:

    ```yaml
    encoding: ids          # optional: the name of this encoding; `labelIds` or `labelTrainIds` for data sets in the
                           # layout of Cityscapes, Dark Zurich or similar ones, whose files hold such ids
    void: [255]            # optional: raw values without a class
    void_colours: [[1, 2, 3]]  # optional: colours without a class in label maps that show colours; black is void too,
                           # unless a class is black
    classes:
      - {name: road, colour: [128, 64, 128], ids: [0], group: static}
      - {name: pole, colour: [153, 153, 153], ids: [5], group: static, shift_sensitive: true}
      - {name: car, colour: [0, 0, 142], ids: [13, 14], group: dynamic}
    ```
    """
    values = read_yaml(path)
    if isinstance(values, Mapping) and {"names", "encodings"} <= values.keys():
        raise ConfigError(f"{path}: a classes.json that a stage wrote; name the class list (YAML) that it was made of")
    try:
        if isinstance(values, Mapping) and "base" in values:
            return _at_least_two(CITYSCAPES.subset(parse_section(values, _SubsetFile, str(path)).keep))
        return _at_least_two(_listed(parse_section(values, _ClassFile, str(path))))
    except ConfigError as error:
        lines = [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from None


def read_class_list(named: str) -> ClassList:
    """The class list of the key `data.classes`: `cityscapes`, or the path of a YAML file (see `read_classes`)."""
    if named == "cityscapes":
        return CITYSCAPES
    path = expanded(named)
    if not path.exists():
        raise ConfigError(
            f"{named}: no such class list; `classes` is the path of one (YAML), or `cityscapes` in small letters"
        )
    return read_classes(path)


def _at_least_two(classes: ClassList) -> ClassList:
    """`classes`; ConfigError for a single class, because no loss can learn from it."""
    if len(classes) == 1:
        raise ConfigError(
            f"class list: {classes.names[0]!r} is its only class, and a network needs two at least; add a class for "
            "what is void now"
        )
    return classes


def _listed(section: _ClassFile) -> ClassList:
    entries = section.classes
    return ClassList(
        names=tuple(entry.name for entry in entries),
        colours=tuple(entry.colour for entry in entries),
        dynamic=frozenset(index for index, entry in enumerate(entries) if entry.group == "dynamic"),
        ssc=frozenset(index for index, entry in enumerate(entries) if entry.shift_sensitive),
        encodings={section.encoding: Encoding(tuple(entry.ids for entry in entries), frozenset(section.void))},
        void_colours=frozenset(section.void_colours),
    )


def write_classes(path: Path, classes: ClassList) -> None:
    """Write the list as classes.json, for `load_classes`, atomically."""
    write_json(path, classes.to_json())


def load_classes(path: Path) -> ClassList:
    """Read the classes.json that `prepare` wrote; DataError where it is missing or damaged."""
    try:
        return ClassList.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: no such class list; the stage `prepare` writes it") from None
    except OSError as error:
        raise DataError(f"{path}: a class list that cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError, DataError) as error:
        if Path(path).suffix.lower() in (".yaml", ".yml"):
            raise DataError(
                f"{path}: a YAML file; wanted is the classes.json that the stage `prepare` makes of it"
            ) from None
        raise DataError(f"{path}: damaged class list ({error}); run the stage `prepare` again") from None
