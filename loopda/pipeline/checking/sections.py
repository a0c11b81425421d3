"""What is wrong with the resolved sections of the stages, by their JSON schemas, and where it stands in config.yaml."""

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

from loopda.pipeline.experiments import overlay, section
from loopda.pipeline.merging import Config, leaves, merged
from loopda.pipeline.stages import STAGES
from loopda.text.strict_yaml import remedy
from loopda.weights import references

# a whole number is written 1000: 1e3 is a float, here as in the stages
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


class SchemaErrors:
    """What the schemas find wrong with sections. Each is computed once, for most experiments share most sections."""

    def __init__(self, schemas: Mapping[str, Any]):
        self.validators = {stage: _Validator(schemas[stage]) for stage in STAGES}
        self.found: dict[tuple[str, str], list[ValidationError]] = {}

    def of(self, stage: str, values: Any) -> list[ValidationError]:
        """The errors of the section `values` of `stage`, by the schema of the stage."""
        key = stage, repr(values)
        if key not in self.found:
            wrong = self.validators[stage].iter_errors(values)
            self.found[key] = [plain for error in wrong for plain in _plain_errors(error)]
        return self.found[key]


def faults_of_sections(config: Config, name: str, errors: SchemaErrors) -> list[str]:
    """What is wrong with the resolved sections of the experiment `name`, each with the path of its key."""
    faults = []
    for stage in STAGES:
        if stage == "manifest":  # its section is a part of that of `prepare`
            continue
        resolved = section(config, name, stage)
        own = merged(config.get(stage), overlay(config, name).get(stage))
        for error in errors.of(stage, resolved):
            path = _path_in_file(stage, resolved, [str(part) for part in error.absolute_path], own)
            faults.append(f"{path}: {_message(error)}")
        for path, value in leaves(resolved):
            if path.endswith("weights") and isinstance(value, str) and value:
                where = _path_in_file(stage, resolved, path.split("."), own)
                wrong = references.fault(value) or references.misplaced(value, ".".join(where.split(".")[-2:]))
                if wrong:
                    faults.append(f"{where}: {wrong}")
    return faults


def faults_of_unused_methods(config: Config, errors: SchemaErrors) -> list[str]:
    """What is wrong with the sections of `methods` in config.yaml, whether or not an experiment uses them."""
    faults = []
    base = section({**config, "experiments": {"": {}}}, "", "adapt")
    for name, values in config["methods"].items():
        for error in errors.of("adapt", {**base, "method": {"name": name, **values}}):
            path = [str(part) for part in error.absolute_path]
            if path[:1] == ["method"]:
                faults.append(f"{'.'.join(['methods', name, *path[1:]])}: {_message(error)}")
    return faults


def _path_in_file(stage: str, resolved: Config, path: list[str], own: Config) -> str:
    """The path in config.yaml of the value at `path` of the resolved section of `stage`.

    own: the section that is the stage's own, which may have keys of a shared section too.
    """
    if stage == "adapt" and path[:1] == ["method"]:
        return ".".join(["methods", resolved["method"]["name"], *path[1:]])
    shared = path and path[0] in STAGES[stage].sections
    return ".".join(path if shared and not _holds(own, path) else [STAGES[stage].section, *path])


def _holds(values: Any, path: Sequence[str]) -> bool:
    """Whether there is a value at `path`."""
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _plain_errors(error: ValidationError) -> list[ValidationError]:
    """The errors under the alternative that was meant, instead of "not valid under any of the given schemas".

    The alternative that was meant is that of the given `layout` or `name`, or the one that is not null. Where there are
    no alternatives, the error itself.
    """
    by_alternative: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        by_alternative.setdefault(inner.schema_path[0], []).append(inner)
    for inner in by_alternative.values():
        if inner[0].validator == "type" and inner[0].validator_value == "null":
            continue
        if not any(list(error.path) in (["layout"], ["name"]) for error in inner):
            return [plain for error in inner for plain in _plain_errors(error)]
    return [error]


def _message(error: ValidationError) -> str:
    """What is wrong, and the remedy where there is one."""
    if "discriminator" in error.schema:
        key = error.schema["discriminator"]["propertyName"]
        known = ", ".join(error.schema["discriminator"]["mapping"])
        found = error.instance[key]
        what = "layout" if key == "layout" else "method"
        return f"there is no {what} {found!r}{remedy(found, 'string')}; the {what}s are {known}"
    if error.validator == "pattern" and "description" in error.schema:
        return f"{error.instance!r} is not {error.schema['description']}"
    if error.validator == "additionalProperties":
        renamed = error.schema.get("renamed", {}).items()
        return "; ".join([error.message, *(f"{key} is now {now}" for key, now in renamed if key in error.instance)])
    if error.instance is None:
        return f"{error.message}; write a value, or remove the key"
    if error.validator in ("enum", "const"):
        known = error.validator_value if error.validator == "enum" else [error.validator_value]
        return error.message + remedy(error.instance, "string" if isinstance(known[0], str) else "number")
    return error.message + (remedy(error.instance, error.validator_value) if error.validator == "type" else "")
