"""Strict sections of the configuration: unknown keys, wrong types and values out of bounds are refused by name."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from loopda.errors import ConfigError
from loopda.strict_yaml import read_yaml, remedy


class Section(BaseModel):
    """Base of every stage's section. Strict: `"3"` is not a number, and a misspelt key is an error, not a default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


# what pydantic calls a value of another type, and the type that it wanted
_WANTED = {
    "float_type": "number",
    "int_type": "integer",
    "int_from_float": "integer",
    "bool_type": "boolean",
    "string_type": "string",
    "path_type": "string",
    "literal_error": "string",
}

AnySection = TypeVar("AnySection", bound=Section)


def read_section(path: Path, section: type[AnySection]) -> AnySection:
    """Read the YAML (or JSON) file `path` as a `section`; ConfigError lists every wrong key at once."""
    return parse_section(read_yaml(path), section, str(path))


def parse_section(values: object, section: type[AnySection], where: str) -> AnySection:
    """Check `values` against `section`; `where` names their origin in the ConfigError."""
    if values is None:
        values = {}
    try:
        # by way of JSON rules: lists are accepted where the section says tuple, strings where it says Path
        return section.model_validate_json(json.dumps(values))
    except ValidationError as error:
        faults = [
            f"{where}: {'.'.join(str(part) for part in fault['loc']) or 'the section'}: {fault['msg']}"
            + remedy(fault["input"], _WANTED.get(fault["type"]))
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(faults)) from None
