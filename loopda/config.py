"""Strict sections of the configuration: unknown keys, wrong types and values out of bounds are refused by name."""

import json
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from loopda.errors import ConfigError
from loopda.text import read_text


class Section(BaseModel):
    """Base of every stage's section. Strict: `"3"` is not a number, and a misspelt key is an error, not a default."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


AnySection = TypeVar("AnySection", bound=Section)


def read_section(path: Path, section: type[AnySection]) -> AnySection:
    """Read the YAML (or JSON) file `path` as a `section`; ConfigError lists every wrong key at once."""
    return parse_section(read_yaml(path), section, str(path))


def read_yaml(path: Path) -> object:
    """The values in the YAML (or JSON) file `path`, unchecked; ConfigError where it is missing or no YAML in UTF-8."""
    try:
        return yaml.safe_load(read_text(path, ConfigError))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a YAML file that can") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None


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
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(faults)) from None
