"""What an experiment of config.yaml is: the section of each stage, its data sets, and whose results it shares.

An experiment is an overlay of a few lines. Two experiments share a stage if its resolved section, those of all its
ancestors, and the data sets that these stages read are the same. The functions work on plain dictionaries and import
nothing heavy, because the Snakefile calls them each time it is parsed.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import yaml

from loopda.pipeline.merging import Config, merged, sorted_behind
from loopda.pipeline.stages import (
    DISTRIBUTED_STAGES,
    ENSEMBLE,
    LAST,
    MODEL_STAGES,
    SETS,
    STAGES,
    TESTS,
    TRAINING_STAGES,
    Parent,
)

EXTENDS = "extends"  # the key of an experiment that has all that another one changes, and more

# lists of experiments, each of which makes a page and its tables: key, target, rule and folder have one name
COMPARISONS = ("run", "compare", "parts", "networks", "ablation", "tau")
SEARCH = "search"  # the key, target, rule and folder of the search over settings (`loopda.pipeline.search`)
# top-level keys that are no section of a stage
SETTINGS = frozenset(
    {"seeds", "table_seeds", "differences_from", "device", "processes", "experiments", SEARCH, *COMPARISONS}
)
SECTIONS = SETTINGS | {"methods"} | {name for stage in STAGES.values() for name in (stage.section, *stage.sections)}

TOWN = "results/town/"  # where the built-in town writes its data sets
BY_SET = ("full_size", "statistics", "sizes", "classes")  # keys of `evaluate` that name sets to measure on
FULL_SIZE = "-full"  # ends the name of a set that is scored at the size of its label files

CLAIMS = "claims"  # the key under which a checked configuration holds what `loopda.pipeline.claims` has found


class CachedConfig(dict[str, Any]):
    """A configuration that does not change any more, with a cache of what this module computes from it.

    A workflow asks for the same owners for each of its jobs. A changed copy (`config | {...}`) is a plain dictionary
    again, without a cache.
    """

    def __init__(self, config: Config):
        super().__init__(config)
        self.cache: dict[tuple[str, ...], Any] = {}


def _cached(config: Config, key: tuple[str, ...], compute: Callable[[], Any]) -> Any:
    """What `compute` returns; called once for each key of a `CachedConfig`."""
    if not isinstance(config, CachedConfig):
        return compute()
    if key not in config.cache:
        config.cache[key] = compute()
    return config.cache[key]


def section(config: Config, experiment: str, stage: str) -> dict[str, Any]:
    """The resolved section of `stage` in `experiment`: all settings of the stage, and the content of its config.yaml.

    The sections that it shares with other stages (`input`, `compute`, `network`, `loops`) appear in it under their own
    names; keys that its own section has under such a name lie over them. The section of `prepare` is `data`, of which
    `manifest` gets one set at a time (`set_section`); beside the sets it has the section `input`, and of `evaluate`
    what their images and labels must fit. `adapt` gets the section of the method that it names, and of no other.
    """
    own = overlay(config, experiment)
    shared = STAGES[stage].sections
    if STAGES[stage].section == "data":
        data = _own_data(config["data"], own.get("data") or {})
        return data | _fitting(config, experiment) if stage == "prepare" else data
    resolved = {name: merged(config[name], own.get(name)) for name in shared}
    values = merged(config.get(stage), own.get(stage))
    known = [name for name in values if name in (config.get(stage) or ())]
    for name in (*known, *sorted(values.keys() - set(known))):  # in whatever order an overlay has them
        value = values[name]
        resolved[name] = merged(resolved[name], value) if name in shared and value is not None else value
    if stage == "adapt":
        name = resolved["method"]
        resolved["method"] = {"name": name, **merged(config["methods"][name], own.get("methods", {}).get(name))}
    return resolved


def as_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML text, in their own order: the content of a stage's config.yaml.

    The keys of a layout are sorted: an overlay may write them in any order, and another text would run the stage again.
    """
    plain = json.loads(json.dumps(values))
    return yaml.safe_dump(sorted_behind("layout", plain), sort_keys=False, allow_unicode=True)


def overlay(config: Config, experiment: str) -> Mapping[str, Any]:
    """What `experiment`, and those that it extends, change in config.yaml. An ensemble: as its first member."""
    first = next(iter(members(config, experiment)), experiment)
    own = config["experiments"][first] or {}
    if EXTENDS not in own:
        return own
    return merged(overlay(config, own[EXTENDS]), {key: value for key, value in own.items() if key != EXTENDS})


def members(config: Config, experiment: str) -> list[str]:
    """The experiments whose last models an ensemble averages; [] for any other experiment."""
    return list((config["experiments"][experiment] or {}).get(ENSEMBLE, ()))


def processes(config: Config, stage: str) -> int:
    """How many processes work on `stage` together."""
    if stage not in DISTRIBUTED_STAGES:
        return 1
    return config["processes"].get(stage, config["processes"]["default"])


def sets(config: Config, experiment: str) -> dict[str, Any]:
    """The data sets of `experiment`: name -> layout. Those of `night_tests` are called "night_tests/<name>"."""
    data = section(config, experiment, "prepare")
    tests = {f"{TESTS}/{name}": layout for name, layout in (data.get(TESTS) or {}).items()}
    return {name: data[name] for name in SETS if data.get(name) is not None} | tests


def set_section(config: Config, experiment: str, name: str) -> dict[str, Any]:
    """The section of the stage `manifest` for the set `name`: the class list, the name, and the layout."""
    return {
        "classes": section(config, experiment, "prepare")["classes"],
        "name": name,
        "images": sets(config, experiment)[name],
    }


def reads(config: Config, experiment: str, stage: str) -> list[str]:
    """The sets whose manifests `stage` reads in `experiment`."""
    wanted = STAGES[stage].sets
    known = list(sets(config, experiment)) if wanted else []
    found = []
    for names in wanted:
        alternatives = [names] if isinstance(names, str) else names
        there = [[name for name in known if name == one or name.startswith(f"{one}/")] for one in alternatives]
        found += next(filter(None, there), [])
    return found


def _own_data(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data` of an overlay with the sets `own` over `base`.

    Beside a set that is not the built-in town's, sets of the town are left out, unless the overlay names them.
    """
    resolved = {
        name: value for name, value in merged(base, own).items() if name not in (*SETS, TESTS) or value is not None
    }
    if not any(name in SETS and not uses_town(layout) for name, layout in resolved.items()):
        return resolved
    return {name: value for name, value in resolved.items() if name not in SETS or name in own or not uses_town(value)}


def _fitting(config: Config, experiment: str) -> dict[str, Any]:
    """What `prepare` checks the images and labels of the sets against: the sizes, and the classes that are scored."""
    evaluated = section(config, experiment, "evaluate")
    scored = {key: evaluated[key] for key in ("sizes", "classes") if key in evaluated}
    return {"input": evaluated["input"], **({"evaluate": scored} if scored else {})}


def uses_town(layout: Any, part: str = "") -> bool:
    """Whether a layout names files of the built-in town; with `part`, files of that folder of the town."""
    named = layout.values() if isinstance(layout, Mapping) else ()
    return any(
        f"{os.path.relpath(value)}/".startswith(TOWN + part) for value in named if value and isinstance(value, str)
    )


def parents(config: Config, experiment: str, stage: str) -> tuple[str, ...]:
    """The stages that come directly before `stage` in `experiment`."""
    return tuple(parent.name for parent in _parents(config, experiment, stage))


def parents_read(config: Config, experiment: str, stage: str) -> tuple[str, ...]:
    """Those of the `parents` whose files `stage` reads in `experiment`."""
    sections = partial(section, config, experiment)
    return tuple(
        parent.name
        for parent in _parents(config, experiment, stage)
        if parent.read_where is None or parent.read_where(sections)
    )


def _parents(config: Config, experiment: str, stage: str) -> list[Parent]:
    sections = partial(section, config, experiment)
    known = [Parent(parent) if isinstance(parent, str) else parent for parent in STAGES[stage].parents]
    return [parent for parent in known if parent.where is None or parent.where(sections)]


def ancestry(config: Config, experiment: str, stage: str) -> set[str]:
    """`stage`, and all stages before it whose files it needs."""
    pending = [stage]
    found: set[str] = set()
    while pending:
        stage = pending.pop()
        if stage not in found:
            found.add(stage)
            pending += parents(config, experiment, stage)
    return found


def _chain(config: Config, experiment: str) -> frozenset[str]:
    """The stage that `experiment` ends with, and all its ancestors; an ensemble trains nothing."""

    def chain() -> frozenset[str]:
        last = "prepare" if members(config, experiment) else overlay(config, experiment).get("until", LAST)
        return frozenset(ancestry(config, experiment, last))

    return _cached(config, ("chain", experiment), chain)


def model_stages(config: Config, experiment: str) -> list[str]:
    """The stages of `experiment` that make a model, up to the stage that it ends with (`until`, by default `distill`).

    An ensemble trains nothing, but has scores: `ensemble` stands in the place of its stages.
    """
    if members(config, experiment):
        return [ENSEMBLE]
    return [stage for stage in MODEL_STAGES if stage in _chain(config, experiment)]


def training_stages(config: Config, experiment: str) -> list[str]:
    """The stages of `experiment` that train, in pipeline order."""
    return [stage for stage in TRAINING_STAGES if stage in _chain(config, experiment)]


def owner(config: Config, experiment: str, *stages: str) -> str:
    """The experiment in whose folder the results of `stages` are, for it and all experiments that share these stages.

    Of several such experiments it is the one that has results on disk (claims.py), so that the owner does not change
    after the training; without results, the first in config.yaml. An experiment that does not have one of the stages,
    because it ends earlier or in another branch, is not the owner.
    """

    def find() -> str:
        wanted = _lineage(config, experiment, stages)
        trained = _chain(config, experiment).intersection(stages)
        alike = (
            candidate
            for candidate in config["experiments"]
            if trained <= _chain(config, candidate) and _lineage(config, candidate, stages) == wanted
        )
        return _first_claimant(config, "/".join(stages), alike)

    return _cached(config, ("owner", experiment, *stages), find)


def owner_of_set(config: Config, experiment: str, name: str) -> str:
    """The experiment in whose folder the manifest of the set `name` is, by the same rule as `owner`."""

    def find() -> str:
        wanted = _set_lineage(config, experiment, name)
        alike = (
            candidate
            for candidate in config["experiments"]
            if wanted and _set_lineage(config, candidate, name) == wanted
        )
        return _first_claimant(config, f"manifest/{name}", alike)

    return _cached(config, ("owner of set", experiment, name), find)


def scored_as(config: Config, experiment: str, stage: str) -> str:
    """The experiment in whose folder the scores of the model of `stage` in `experiment` are."""
    return experiment if stage == ENSEMBLE else owner(config, experiment, "evaluate", stage)


def checked_with(config: Config, experiment: str) -> list[str]:
    """The experiments whose data `prepare` checks before a stage of `experiment` trains: the owners of these checks.

    They are the experiments of `run` that share a training with it; where there are none, `experiment` itself.
    """

    def find() -> list[str]:
        sharing = [name for name in config["run"] if experiment in _owners(config, name)]
        return list(dict.fromkeys(owner(config, name, "prepare") for name in sharing or [experiment]))

    return _cached(config, ("checked with", experiment), find)


def _owners(config: Config, experiment: str) -> frozenset[str]:
    """The owners of the trainings of `experiment`."""
    return _cached(
        config,
        ("owners", experiment),
        lambda: frozenset(owner(config, experiment, stage) for stage in training_stages(config, experiment)),
    )


def _lineage(config: Config, experiment: str, stages: tuple[str, ...]) -> str:
    """The sections of `stages` and of all their ancestors in one text, with the layouts of the sets that these read."""

    def text() -> str:
        needed = {name for stage in stages for name in ancestry(config, experiment, stage)}
        sections = {name: section(config, experiment, name) for name in needed if STAGES[name].section != "data"}
        if "prepare" in needed:
            sections["prepare"] = _fitting(config, experiment)
        known = sets(config, experiment)
        read = {name: known.get(name) for stage in needed for name in reads(config, experiment, stage)}
        classes = section(config, experiment, "prepare")["classes"]
        return json.dumps([sections, read, classes], sort_keys=True)

    return _cached(config, ("lineage", experiment, *stages), text)


def _set_lineage(config: Config, experiment: str, name: str) -> str:
    """All settings of the manifest of the set `name` in one text; "" where `experiment` has no such set."""

    def text() -> str:
        if name not in sets(config, experiment):
            return ""
        return json.dumps([set_section(config, experiment, name), config["town"]], sort_keys=True)

    return _cached(config, ("set", experiment, name), text)


def _first_claimant(config: Config, results: str, alike: Iterable[str]) -> str:
    """Of experiments with equal settings, the one that has most of `results` on disk; the first of equals."""
    claimed = config.get(CLAIMS, {}).get(results, {})
    return max(alike, key=lambda experiment: claimed.get(experiment, 0))
