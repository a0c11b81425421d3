"""JSON files that one stage writes and others read: each is declared as a model of pydantic, and checked as it is read.

A DataError names the file, what is wrong with it and the remedy, a line for each fault.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from loopda.errors import DataError


class JsonPart(BaseModel):
    """Base of what stands in such a file. Keys that the model does not declare are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class JsonFile(JsonPart):
    """Base of a whole file. read_from: its path, from whose folder relative paths in it may count."""

    read_from: Path = Path()


AnyFile = TypeVar("AnyFile", bound=JsonFile)


def read_json(path: Path, kind: type[AnyFile], remedy: str) -> AnyFile:
    """Read the file; DataError, which ends in the `remedy`, where it is missing or not of this kind."""
    try:
        return kind.model_validate_json(read_result(path, remedy)).model_copy(update={"read_from": Path(path)})
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}; {remedy}"
            for fault in error.errors()
        ]
        raise DataError("\n".join(faults)) from None


def read_result(path: Path, remedy: str) -> str:
    """The text of a file; DataError, which ends in the `remedy`, where it is missing or no text."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise DataError(f"{path}: not a text file ({error}); {remedy}") from None
