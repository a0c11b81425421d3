"""Strict reading of YAML and JSON: what YAML would silently drop or change is an error with file and line.

YAML keeps the last of two equal keys, reads a key without a value as null, `no` as false, `2024` as a number,
`2024-01-05` as a date, `017705` as octal and `1:30` as 90. Files are YAML 1.1, as PyYAML and Snakemake read it.
Anchors, aliases and merge keys (`<<`) are allowed.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from loopda.errors import ConfigError
from loopda.text.encoding import read_text

YAML_TAG = "tag:yaml.org,2002:"
MEANT = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date", "null": "no value"}
PLAIN = ("str", "bool", "int", "float", "null", "map", "seq")  # the tags of what a configuration holds


def read_yaml(path: Path) -> Any:
    """The values in the YAML (or JSON) file `path`; ConfigError names each line that YAML would drop or change.

    A file that is valid JSON is read as JSON, as Snakemake does: `1e-4` is a number in JSON and a text in YAML.
    """
    text = _text(path)
    values, is_json = _json(text)
    try:
        loader = _loader(text, is_json=is_json)
        node = loader.get_single_node()
        faults = list(dict.fromkeys(_faults(node, (), {}))) if node else []
        lines = [f"{path}:{line}: {fault}" for line, fault in sorted(faults)]
        lines += [f"{path}: {fault}" for fault in unlike_yaml(values)]  # JSON's NaN and Infinity
        if lines:
            raise ConfigError("\n".join(lines))
        return values if is_json or node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}{_syntax_fault(error, text)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: the character U+{error.character:04X}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The sections in the configuration file `path`, read by `read_yaml`; ConfigError where it holds none."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"{type(values).__name__} {values!r}"[:80]
        raise ConfigError(f"{path}: expected sections with keys (`warmup: {{steps: 9}}`), found {found}")
    return values


def refuse_equal_keys(path: Path) -> None:
    """ConfigError where a mapping in `path` has two equal keys. Other errors in the file are left to `read_yaml`."""
    text = _text(path)
    try:
        node = _loader(text, is_json=_json(text)[1]).get_single_node()
    except (yaml.YAMLError, RecursionError):
        return
    faults = [(line, fault) for line, fault in _faults(node, (), {}) if "occurs twice" in fault] if node else []
    if faults:
        raise ConfigError("\n".join(f"{path}:{line}: {fault}" for line, fault in sorted(faults)))


def remedy(value: Any, wanted: Any) -> str:
    """The remedy where YAML read `value` as another type than `wanted`, such as "; write 3"; "" where none is known.

    wanted: a type of JSON Schema: "number", "integer", "boolean", "string" or "array".
    """
    if wanted == "array" and not isinstance(value, bool) and re.fullmatch(r"[\w ./-]+", str(value)):
        return f"; a list of one is written [{value}]"
    if isinstance(value, str) and wanted in ("number", "integer"):
        number = _number_in_text(value, wanted)
        return f"; YAML reads it as a text: write {number}" if number else ""
    if isinstance(value, float) and wanted == "integer" and value.is_integer():
        return f"; write {int(value)}"
    if wanted == "boolean" and str(value).lower() in ("yes", "no", "on", "off", "true", "false", "y", "n"):
        return "; write true or false, without quotes"
    if wanted == "string" and isinstance(value, bool):
        return "; YAML reads yes, no, on, off, true and false as truth values: put the word in quotes"
    if wanted == "string" and isinstance(value, int | float):
        return f'; YAML reads it as a number: put it in quotes, "{value}"'
    return ""


def unlike_yaml(values: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each name in `values` that is not a text, and each value that no configuration has: nan, a date."""
    where = ".".join(path)
    if isinstance(values, dict):
        for name, value in values.items():
            if isinstance(name, str):
                yield from unlike_yaml(value, (*path, name))
            else:
                tag = {bool: "bool", int: "int", float: "int", type(None): "null"}.get(type(name), "timestamp")
                yield f"{where or 'the file'}: YAML reads the name {name} as {MEANT[tag]}; put it in quotes"
    elif isinstance(values, list):
        for value in values:
            yield from unlike_yaml(value, path)
    elif isinstance(values, float) and not math.isfinite(values):
        yield f"{where}: {values} is not a finite number; write one"
    elif values is not None and not isinstance(values, str | bool | int | float):
        yield f"{where}: YAML reads {values} as a {type(values).__name__}; put it in quotes"


def _text(path: Path) -> str:
    try:
        return read_text(path, ConfigError)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _loader(text: str, *, is_json: bool) -> yaml.SafeLoader:
    """The loader of `text`; YAML forbids the tabs that JSON allows between values."""
    return yaml.SafeLoader(text.replace("\t", " ") if is_json else text)


def _json(text: str) -> tuple[Any, bool]:
    """The values of `text`, and True, if it is JSON; otherwise None and False."""
    try:
        return json.loads(text), True
    except (ValueError, RecursionError):
        return None, False


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> str:
    """The message for a text that is not YAML, ":line: what is wrong"."""
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1]:
        return f":{mark.line + 1}: not valid YAML: a tab; indent with spaces"
    if error.context == "expected a single document in the stream":
        return f":{mark.line + 1}: a second document begins here (---); a file can have only one"
    quotes = re.search(r"(: |[-[,] *)[*{&!%@`|>]|: .*: ", line)
    hint = "; a text with ': ' in it, or with one of * { & ! % @ ` | > at its beginning, needs quotes" if quotes else ""
    return f":{mark.line + 1}: not valid YAML: {error.problem}{hint}"


def _faults(node: Node, path: tuple[str, ...], visited: dict[int, bool]) -> Iterator[tuple[int, str]]:
    """The line and the message of each thing at and below `node` that YAML would drop or change.

    path: the keys above. visited: the nodes seen so far, by id; False while a node is being searched, so that an alias
    to it from inside is found.
    """
    line = node.start_mark.line + 1
    if id(node) in visited:
        if not visited[id(node)]:
            yield line, f"{_name(path)} contains itself, through an alias; write out its content"
        return
    visited[id(node)] = False
    kind = node.tag.removeprefix(YAML_TAG)
    if kind not in PLAIN and not (kind == "timestamp" and isinstance(node, ScalarNode)):
        what = f"{node.value!r}" if isinstance(node, ScalarNode) else _name(path)
        yield (
            line,
            f"{what} has the tag {node.tag!r}, which is not allowed here; put it in quotes, or remove the tag",
        )
    if isinstance(node, MappingNode):
        yield from _faults_of_mapping(node, path, visited)
    elif isinstance(node, ScalarNode):
        fault = _fault_of_scalar(node, kind)
        if fault:
            yield line, fault
    else:
        for number, item in enumerate(node.value, 1):
            if _is_empty(item):
                yield item.start_mark.line + 1, f"item {number} of {_name(path)} has no value; write one, or remove it"
            yield from _faults(item, (*path, str(number)), visited)
    visited[id(node)] = True


def _faults_of_mapping(node: MappingNode, path: tuple[str, ...], visited: dict[int, bool]) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}  # the line of each key
    for key, value in node.value:
        line, tag = key.start_mark.line + 1, key.tag.removeprefix(YAML_TAG)
        if not isinstance(key, ScalarNode):
            yield line, f"a name in {_name(path)} is a list or a mapping; names are words, or texts in quotes"
            continue
        name = key.value
        if name in first:
            lost = "" if tag == "merge" else ", and YAML would drop all but the last"
            advice = "write <<: [*first, *second]" if tag == "merge" else "join them, or remove one"
            yield line, f"{name!r} occurs twice in {_name(path)} (line {first[name]}){lost}; {advice}"
        first.setdefault(name, line)
        if tag in MEANT:
            yield line, f'YAML reads the name {name} in {_name(path)} as {MEANT[tag]}; put it in quotes: "{name}"'
        elif tag not in ("str", "merge"):
            yield line, f'YAML reads the name {name} in {_name(path)} as {key.tag}; put it in quotes: "{name}"'
        if _is_empty(value):
            whole = ".".join((*path, name))
            quotes = "; a text in braces needs quotes" if node.flow_style and len(node.value) == 1 else ""
            yield line, f"{whole} has no value; write one ({{}} is a section without any), or remove the key{quotes}"
        yield from _faults(value, path if tag == "merge" else (*path, name), visited)


def _fault_of_scalar(node: ScalarNode, kind: str) -> str:
    """The message for a value without quotes that YAML reads as something else; "" where it reads what is written."""
    text = node.value
    if node.style is not None:
        return ""
    if kind == "timestamp":
        return f'YAML reads {text} as a date; put it in quotes: "{text}"'
    digits = text.replace("_", "").lstrip("+-")
    if kind in ("int", "float") and ":" in digits:
        return f'YAML reads {text} as a number in base 60; write the number itself, or put it in quotes: "{text}"'
    if kind == "int" and re.fullmatch(r"0\d+", digits):
        return f'YAML reads {text} as octal, {int(digits, 8)}; write {int(digits)}, or put a name in quotes: "{text}"'
    if kind == "float" and not math.isfinite(float(re.sub(r"\.(inf|nan)", r"\1", digits.lower()))):
        return f"{text} is not a finite number; write one"
    return ""


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == f"{YAML_TAG}null" and node.value == ""


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the file"


def _number_in_text(text: str, wanted: str) -> str:
    """The number in `text` as YAML writes it, as close to the original as possible; "" if it is not a number."""
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number) or (wanted == "integer" and not number.is_integer()):
        return ""
    if wanted == "integer":
        return str(int(number))
    mantissa, exponent, power = text.strip().lower().partition("e")
    if not exponent:
        return text.strip().lstrip("0") if re.fullmatch(r"0+[1-9]\d*", text.strip()) else text.strip()
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{'' if power[0] in '+-' else '+'}{power}"
