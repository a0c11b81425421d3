"""Strict sections of the configuration: unknown keys, wrong types and values out of bounds are errors."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from loopda.errors import ConfigError
from loopda.text.strict_yaml import read_yaml, remedy

# the kinds of numbers that many sections hold
Count = Annotated[int, Field(ge=1)]
WholeNumber = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def expanded(path: Path | str, folder: Path | str = "") -> Path:
    """`path`, which may be relative to `folder`, with a leading ~ and $VARIABLES or ${VARIABLES} expanded.

    A part that is the literal name of an existing file or folder is not expanded. ConfigError where the home or the
    variable does not exist, or the variable is empty; and for URLs and paths of Windows.
    """
    text = str(path)
    for begin, why in _NOT_LOCAL:
        if re.match(begin, text) and not os.path.lexists(os.path.join(folder, text)):
            raise ConfigError(f"{text}: {why}")
    if "$" not in text and not text.startswith("~"):
        return Path(path)
    done: list[str] = []
    for number, part in enumerate(text.split("/")):
        marked = "$" in part or (number == 0 and part.startswith("~"))
        if marked and not os.path.lexists(os.path.join(folder, "/".join([*done, part]))):
            part = _expanded_part(part, text)
        done.append(part)
    return Path("/".join(done))


_NOT_LOCAL = (
    (
        r"[A-Za-z][A-Za-z0-9+.-]+:/",
        "an address, not a path; download the file first, and give its path here",
    ),
    (r"[A-Za-z]:[\\/]|\\\\", "a path of a Windows machine; give the path on this one, with /"),
)


def _expanded_part(part: str, text: str) -> str:
    names = [plain or braced for plain, braced in re.findall(r"\$(?:(\w+)|\{([^}]*)\})", part)]
    if unknown := [name for name in names if not os.environ.get(name)]:
        raise ConfigError(
            f"{text}: the environment has no variable {', '.join(unknown)}; set it, or write the path without it"
        )
    if part.startswith("~"):
        part = os.path.expanduser(part)
        if part.startswith("~"):
            raise ConfigError(f"{text}: there is no home folder {part}; write the path without it")
    return os.path.expandvars(part)


class Section(BaseModel):
    """Base class of every section. Strict: `"3"` is not a number, and a misspelt key is an error, not a default.

    In paths, a leading ~ and environment variables are expanded.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    @field_validator("*", mode="after")
    @classmethod
    def _expand_paths(cls, value: object) -> object:
        try:
            return expanded(value) if isinstance(value, Path) else value
        except ConfigError as error:
            raise ValueError(str(error)) from None


# pydantic's error for a value of the wrong type -> the type that was wanted, as JSON Schema calls it
_WANTED = {
    "float_type": "number",
    "int_type": "integer",
    "int_from_float": "integer",
    "bool_type": "boolean",
    "string_type": "string",
    "path_type": "string",
    "literal_error": "string",
    "tuple_type": "array",
    "list_type": "array",
}

AnySection = TypeVar("AnySection", bound=Section)


def read_section(path: Path, section: type[AnySection]) -> AnySection:
    """Read the YAML (or JSON) file `path` as a `section`; ConfigError lists all wrong keys at once."""
    return parse_section(read_yaml(path), section, str(path))


def parse_section(values: object, section: type[AnySection], where: str) -> AnySection:
    """Parse `values` as a `section`. where: the origin of the values, for the ConfigError."""
    if values is None:
        values = {}
    try:
        # by the rules for JSON, which accept a list for a tuple and a string for a Path
        return section.model_validate_json(json.dumps(values))
    except ValidationError as error:
        faults = [
            f"{where}: {'.'.join(str(part) for part in fault['loc']) or 'the section'}: {_message(fault, section)}"
            + remedy(fault["input"], _WANTED.get(fault["type"]))
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(faults)) from None


def _message(fault: Mapping[str, Any], section: type[Section]) -> str:
    """pydantic's message; in place of a regular expression, the description of the field."""
    if fault["type"] != "string_pattern_mismatch":
        return fault["msg"]
    described = _described(section.model_json_schema(), fault["ctx"]["pattern"])
    return f"{fault['input']!r} is not {described}" if described else fault["msg"]


def _described(schema: Any, pattern: str) -> str:
    """The description beside `pattern` anywhere in a JSON schema; "" where there is none."""
    if isinstance(schema, dict):
        if schema.get("pattern") == pattern and "description" in schema:
            return schema["description"]
        schema = list(schema.values())
    inside = (_described(part, pattern) for part in schema) if isinstance(schema, list) else ()
    return next(filter(None, inside), "")
