"""Checking a configuration before any job starts, so that no wrong key ends a run after hours of training.

`check` begins with the names of sections, the settings, and the form of experiments (settings.py). It goes on with each
stage's resolved section (sections.py) and the data sets (data.py), and ends with settings that exclude each other.
Nothing heavy is imported: the Snakefile checks each time it is parsed.
"""

from collections.abc import Mapping
from typing import Any

from loopda.errors import ConfigError
from loopda.pipeline.checking.data import faults_of_sets
from loopda.pipeline.checking.messages import with_experiments
from loopda.pipeline.checking.sections import SchemaErrors, faults_of_sections, faults_of_unused_methods
from loopda.pipeline.checking.settings import faults_of_settings
from loopda.pipeline.experiments import SECTIONS, members, processes, section, training_stages
from loopda.pipeline.merging import Config
from loopda.pipeline.search import with_trials
from loopda.pipeline.stages import ENSEMBLE
from loopda.text.strict_yaml import unlike_yaml


def check(config: Config, schemas: Mapping[str, Any]) -> None:
    """Refuse a wrong configuration: the ConfigError has a line for every fault, with the path of its key.

    schemas: the JSON schema of each stage's resolved section (`schema.read_schemas`).
    """
    faults = (
        _faults_of_keys(config)
        or faults_of_settings(config)
        or _faults_of_experiments(with_trials(config), SchemaErrors(schemas))
        or _faults_of_batches(config) + _faults_of_compilation(config)
    )
    if faults:
        raise ConfigError("\n".join(f"configuration: {fault}" for fault in dict.fromkeys(faults)))


def _faults_of_keys(config: Config) -> list[str]:
    """What is wrong with the names of the sections: unknown, missing, or not what was meant in YAML."""
    faults = list(unlike_yaml(config))
    faults += [f"there is no section {name!r}" for name in config if isinstance(name, str) and name not in SECTIONS]
    missing = sorted(name for name in SECTIONS if name not in config)
    if len(missing) > 3:
        faults.append(
            f"{len(missing)} sections are missing: {', '.join(missing)}. Keep the project's config.yaml whole, and"
            " write your own lines into a file after --configfile"
        )
    else:
        faults += [f"the section {name!r} is missing" for name in missing]
    return faults


def _faults_of_experiments(config: Config, errors: SchemaErrors) -> list[str]:
    """What is wrong with the sections and the data sets of all experiments, with unused methods, and with ensembles."""
    of_experiments = (
        (name, fault)
        for name in config["experiments"]
        for fault in faults_of_sections(config, name, errors) or faults_of_sets(config, name)
    )
    return [
        *faults_of_unused_methods(config, errors),
        *with_experiments(of_experiments),
        *_faults_of_members(config),
    ]


def _faults_of_members(config: Config) -> list[str]:
    """A line for each ensemble whose members are not evaluated alike: on the same classes, images and sizes."""
    faults = []
    for name in config["experiments"]:
        first, *others = members(config, name) or [name]
        for stage, what in (("prepare", "data"), ("evaluate", "evaluate and input")):
            wanted = section(config, first, stage)
            faults += [
                f"experiments.{name}.{ENSEMBLE}: {other} and {first} differ in {what}; average models of the same"
                " classes, images and sizes"
                for other in others
                if not _evaluated_alike(section(config, other, stage), wanted)
            ]
    return faults


def _evaluated_alike(section: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sections agree in everything but the sets that a model was trained on."""
    trained_on = ("source", "night", "day")

    def rest(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in trained_on}

    return rest(section) == rest(other)


def _faults_of_batches(config: Config) -> list[str]:
    """A line for each stage that `run` trains whose processes cannot share a batch equally."""
    faults = []
    for name in config["run"]:
        for stage in training_stages(config, name):
            batch_size, count = section(config, name, stage)["batch_size"], processes(config, stage)
            fault = f"processes: {count} cannot share {stage}.batch_size {batch_size} equally"
            if batch_size % count:
                faults.append((name, f"{fault}; set processes.{stage} to a number that divides it"))
    return with_experiments(faults)


def _faults_of_compilation(config: Config) -> list[str]:
    """A line for each stage with `compute.compiled` whose other settings do not allow it."""
    faults = []
    for name in config["experiments"]:
        for stage in training_stages(config, name):
            if why_not := uncompilable(section(config, name, stage)["compute"], processes(config, stage)):
                faults.append((name, f"{why_not}; stage {stage}"))
    return with_experiments(faults)


def uncompilable(compute: Mapping[str, Any], count: int) -> str:
    """Why `compute.compiled` does not go with the rest of the section and `count` processes; "" where it does."""
    clashes = (
        (compute["memory"] != "fast", "cannot compile blocks that compute again: set compute.memory to fast"),
        (compute["reproducibility"] == "exact", "chooses kernels by trying: set compute.reproducibility to seeded"),
        (count > 1, "cannot compile what processes exchange: set processes to 1"),
    )
    found = [why for clashing, why in clashes if clashing]
    if not (compute["compiled"] and found):
        return ""
    return f"compute.compiled: torch.compile {'; '.join(found)}, or compute.compiled to false"
