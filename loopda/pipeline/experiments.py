"""Experiments: named overlays of a few lines, and which of them owns a stage's results.

Two experiments share every stage whose resolved configuration, and that of all its ancestors, is the same; of the data
sets, those count that the stages read. Functions on plain dictionaries, without any heavy import: the Snakefile calls
them each time it is parsed.
"""

import copy
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from loopda.errors import ConfigError
from loopda.runtime import downloads
from loopda.text.names import MOST_BYTES
from loopda.text.strict_yaml import remedy, unlike_yaml

# each stage: the stages whose files it reads (`parents` knows the exceptions), and the sections that it is told besides
# its own
STAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "town": ((), ()),
    "manifest": (("town",), ("data",)),
    "prepare": (("manifest",), ("data",)),
    "pretrain": (("manifest",), ("input", "compute", "network")),
    "warmup": (("pretrain",), ("input", "compute", "loops")),
    "pair": (("warmup",), ("input",)),
    "pseudo_labels": (("warmup",), ("input",)),
    "self_train": (("pseudo_labels",), ("input", "compute", "loops", "agreement")),
    "simclr": (("pretrain",), ("input", "compute", "network")),
    "distill": (("self_train", "simclr"), ("input", "compute")),
    "translate": (("pretrain",), ("input", "compute")),
    "adapt": (("pretrain",), ("input", "compute")),
    "evaluate": (("manifest",), ("input",)),
    "convert": (("manifest",), ()),
    "submission": ((), ()),
    "illustrate": (("pseudo_labels",), ("input", "loops", "agreement")),
    "report": ((), ()),
}

MODEL_STAGES = ("pretrain", "warmup", "self_train", "distill", "adapt")
TRAINING_STAGES = ("pretrain", "warmup", "self_train", "simclr", "distill", "translate", "adapt")
SHARED_STAGES = (*TRAINING_STAGES, "pseudo_labels", "evaluate")  # those that several processes can share
ENSEMBLE = "ensemble"  # the key of an experiment that averages others' models, and what its scores are called
EXTENDS = "extends"  # the key of an experiment that has all that another one changes, and more

# lists of experiments, each of which makes a page and its tables: key, target, rule and folder have one name
COMPARISONS = ("run", "compare", "parts", "networks", "ablation", "tau")
# what is no stage's business
SETTINGS = frozenset({"seeds", "table_seeds", "device", "processes", "experiments", *COMPARISONS})
SECTIONS = (
    SETTINGS
    | {"data", "methods"}
    | (STAGES.keys() - {"manifest", "prepare"})
    | {name for _, shared in STAGES.values() for name in shared}
)

SETS = ("source", "night", "day", "day_val", "night_val")  # names of sets of images that are taken
LEARNT = ("source", "night")  # the sets that every training reads
MEASURED = ("night_val", "day_val")  # those that `evaluate` reads, with all of TESTS
TESTS = "night_tests"  # the key of further labelled night sets, by name
TOWN = "results/town/"  # where the built-in town writes its data sets
FULL_SIZE = "-full"  # ends the name of a set that is scored at the size of its label files

CLAIMS = "claims"  # the key under which a checked configuration holds what `loopda.pipeline.claims` has found

Config = Mapping[str, Any]


class Settled(dict[str, Any]):
    """A configuration that changes no more, with what has been worked out of it: for every job of a workflow the same
    owners are asked for, again and again. A copy that is changed (`settled | {...}`) is a plain dictionary again."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.worked_out: dict[tuple[str, ...], Any] = {}


def section(config: Config, experiment: str, stage: str) -> dict[str, Any]:
    """The resolved section of `stage` in `experiment`: what its config.yaml holds, and all that the stage is told.

    The sections it shares with other stages (`input`, `compute`, `network`, `loops`) appear in it under their own
    names, with what its own section holds under that name over them; `prepare` has no keys but those of `data`, of
    which `manifest` is told one set at a time (`set_section`); `adapt` is told the one of `methods` that it names, and
    no other.
    """
    own = overlay(config, experiment)
    _, shared = STAGES[stage]
    if stage in ("manifest", "prepare"):
        return _own_data(config["data"], own.get("data") or {})
    resolved = {name: merged(config[name], own.get(name)) for name in shared}
    its = merged(config.get(stage), own.get(stage))
    known = [name for name in its if name in (config.get(stage) or ())]
    for name in (*known, *sorted(its.keys() - set(known))):  # in whatever order an overlay has them
        value = its[name]
        resolved[name] = merged(resolved[name], value) if name in shared and value is not None else value
    if stage == "adapt":
        name = resolved["method"]
        resolved["method"] = {"name": name, **merged(config["methods"][name], own.get("methods", {}).get(name))}
    return resolved


def sets(config: Config, experiment: str) -> dict[str, Any]:
    """The data sets of `experiment`: name -> layout. Those of `night_tests` are called "night_tests/<name>"."""
    data = section(config, experiment, "prepare")
    tests = {f"{TESTS}/{name}": layout for name, layout in (data.get(TESTS) or {}).items()}
    return {name: data[name] for name in SETS if data.get(name) is not None} | tests


def set_section(config: Config, experiment: str, name: str) -> dict[str, Any]:
    """What the stage `manifest` is told of the set `name`: the class list, the name, and the layout."""
    return {
        "classes": section(config, experiment, "prepare")["classes"],
        "name": name,
        "images": sets(config, experiment)[name],
    }


def measured_sets(config: Config, experiment: str) -> list[str]:
    """The sets that the models of `experiment` are scored on; none where it has no labelled images but source."""
    return [name for name in sets(config, experiment) if name in MEASURED or name.startswith(f"{TESTS}/")]


def reads(config: Config, experiment: str, stage: str) -> list[str]:
    """The sets whose manifests `stage` reads in `experiment`."""
    known = sets(config, experiment)
    if stage == "prepare":
        return list(known)
    if stage == "evaluate":
        return measured_sets(config, experiment)
    if stage == "pseudo_labels":
        return ["night"]
    if stage == "pair":
        return [name for name in ("night", "day" if "day" in known else "source") if name in known]
    return [name for name in LEARNT if name in known] if stage in (*TRAINING_STAGES, "illustrate") else []


def owner(config: Config, experiment: str, *stages: str) -> str:
    """The experiment under whose name the results of `stages` lie: one that has them, and all their ancestors,
    configured the same.

    Of several the one that has them on disk (claims.py), so that what is trained stays whose it is; else the
    first in the order of the file. One that ends before a stage which `experiment` has, or in another branch,
    does not own that stage.
    """
    return _once(config, ("owner", experiment, *stages), lambda: _owner(config, experiment, stages))


def _owner(config: Config, experiment: str, stages: tuple[str, ...]) -> str:
    wanted = _lineage(config, experiment, stages)
    trained = _chain(config, experiment).intersection(stages)
    alike = (
        candidate
        for candidate in config["experiments"]
        if trained <= _chain(config, candidate) and _lineage(config, candidate, stages) == wanted
    )
    return _first(config, "/".join(stages), alike)


def owner_of_set(config: Config, experiment: str, name: str) -> str:
    """The experiment under whose name the manifest of the set `name` lies, by the same rule as `owner`."""
    wanted = _told_of_set(config, experiment, name)
    alike = (
        candidate for candidate in config["experiments"] if wanted and _told_of_set(config, candidate, name) == wanted
    )
    return _first(config, f"manifest/{name}", alike)


def _told_of_set(config: Config, experiment: str, name: str) -> str:
    """What the manifest of the set `name` is made of, in one text; "" where `experiment` has no such set."""

    def text() -> str:
        if name not in sets(config, experiment):
            return ""
        return json.dumps([set_section(config, experiment, name), config["town"]], sort_keys=True)

    return _once(config, ("set", experiment, name), text)


def _once(config: Config, key: tuple[str, ...], work_out: Callable[[], Any]) -> Any:
    """What `work_out` returns; of a `Settled` configuration, worked out once."""
    if not isinstance(config, Settled):
        return work_out()
    known = config.worked_out
    if key not in known:
        known[key] = work_out()
    return known[key]


def checked_with(config: Config, experiment: str) -> list[str]:
    """The experiments under whose names the data are checked, all sets together, before a stage of `experiment` trains:
    the data of those of `run` that share any of these stages, or else its own."""
    sharing = [name for name in config["run"] if experiment in _owners(config, name)]
    return list(dict.fromkeys(owner(config, name, "prepare") for name in sharing or [experiment]))


def _owners(config: Config, experiment: str) -> frozenset[str]:
    """The experiments under whose names the trainings of `experiment` lie."""
    return _once(
        config,
        ("owners", experiment),
        lambda: frozenset(owner(config, experiment, stage) for stage in training_stages(config, experiment)),
    )


def _first(config: Config, what: str, alike: Iterable[str]) -> str:
    """Of experiments that have `what` configured alike, the one that has most of it on disk; the first of equals."""
    claimed = config.get(CLAIMS, {}).get(what, {})
    return max(alike, key=lambda experiment: claimed.get(experiment, 0))


def pairs(config: Config, experiment: str) -> bool:
    """Whether self-training in `experiment` reads the references that the stage `pair` finds."""
    return section(config, experiment, "pair")["enabled"]


def translates(config: Config, experiment: str) -> bool:
    """Whether `adapt` in `experiment` learns from what the stage `translate` makes: its method has `pixel: true`."""
    return section(config, experiment, "adapt")["method"].get("pixel", False)


def parents(config: Config, experiment: str, stage: str) -> tuple[str, ...]:
    """The stages whose files `stage` reads in `experiment`."""
    known, _ = STAGES[stage]
    if stage == "pseudo_labels" and pairs(config, experiment):
        return (*known, "pair")
    if stage == "adapt" and translates(config, experiment):
        return (*known, "translate")
    return known


def members(config: Config, experiment: str) -> list[str]:
    """The experiments whose last models an ensemble averages; [] for any other experiment."""
    return list((config["experiments"][experiment] or {}).get(ENSEMBLE, ()))


def model_stages(config: Config, experiment: str) -> list[str]:
    """The stages of `experiment` that make a model, up to the one it ends with (`until`, by default `distill`).

    An ensemble makes none, but has scores: `ensemble`.
    """
    if members(config, experiment):
        return [ENSEMBLE]
    return [stage for stage in MODEL_STAGES if stage in _chain(config, experiment)]


def scored_as(config: Config, experiment: str, stage: str) -> str:
    """The experiment under whose name the model of `stage` in `experiment` is evaluated."""
    return experiment if stage == ENSEMBLE else owner(config, experiment, "evaluate", stage)


def training_stages(config: Config, experiment: str) -> list[str]:
    """The stages of `experiment` that train, in pipeline order."""
    return [stage for stage in TRAINING_STAGES if stage in _chain(config, experiment)]


def processes(config: Config, stage: str) -> int:
    """How many processes work on `stage` together."""
    if stage not in SHARED_STAGES:
        return 1
    return config["processes"].get(stage, config["processes"]["default"])


def as_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML text, in their own order: the content of a stage's config.yaml.

    The keys of a layout are sorted: an overlay may write them in any order, and another text would run the stage again.
    """
    return yaml.safe_dump(_in_one_order(_plain(values), "layout"), sort_keys=False, allow_unicode=True)


def _in_one_order(values: Any, first: str) -> Any:
    """`values` with the keys of each mapping that has the key `first` in the order of the alphabet, behind that."""
    if not isinstance(values, Mapping):
        return values
    keys = [first, *sorted(values.keys() - {first})] if first in values else values
    return {key: _in_one_order(values[key], first) for key in keys}


def merged(base: Any, overlay: Any) -> Any:
    """`base` with the values of `overlay`; mappings are merged key by key, everything else is replaced.

    A mapping that names another `layout` replaces the base's whole: the keys of one layout mean nothing to another. No
    overlay at all (None) changes nothing, but a null in it is a value as any other.
    """
    if overlay is None:
        return copy.deepcopy(base if base is not None else {})
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return _in_one_order(copy.deepcopy(overlay), "name")
    if "layout" in overlay and overlay["layout"] != base.get("layout"):
        return copy.deepcopy(overlay)
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overlay.items():
        result[key] = None if value is None else merged(base.get(key), value)
    return result


def of_files(config: Config, base: Config, overlays: Sequence[Config]) -> Config:
    """`config`, which Snakemake has merged of config.yaml (`base`) and `overlays`, in the order of `base` and without
    the keys of layouts that an overlay replaces.
    """
    return in_order(of_one_layout(config, [base, *overlays]), base)


def of_one_layout(config: Config, layers: Sequence[Config]) -> Config:
    """`config`, which Snakemake has merged of `layers` key by key, without the keys of layouts that a later layer
    replaces: whoever writes `data: {night: {layout: folder, ...}}` over config.yaml has no keys of its dark_zurich.
    """
    by_key, by_layout = {}, {}
    for layer in layers:
        by_key, by_layout = laid_over(by_key, layer), merged(by_layout, layer)
    return _without(config, by_key, by_layout)


def laid_over(base: Any, overlay: Any) -> Any:
    """`base` with the values of `overlay`, merged as Snakemake merges configuration files: key by key, all of them."""
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return overlay
    return {**base, **{key: laid_over(base.get(key), value) for key, value in overlay.items()}}


def _without(config: Any, by_key: Any, by_layout: Any) -> Any:
    """`config` without what is in `by_key` and not in `by_layout`."""
    if not all(isinstance(values, Mapping) for values in (config, by_key, by_layout)):
        return config
    return {
        key: _without(value, by_key.get(key), by_layout.get(key))
        for key, value in config.items()
        if key not in by_key or key in by_layout
    }


def in_order(config: Any, base: Any) -> Any:
    """`config` with the keys of each mapping in the order of `base`, and those that it has besides behind them.

    Snakemake puts what an overlay names before what config.yaml does; but the order of files changes neither a stage's
    section nor whose results are shared.
    """
    if not (isinstance(config, Mapping) and isinstance(base, Mapping)):
        return config
    keys = [*(key for key in base if key in config), *(key for key in config if key not in base)]
    return {key: in_order(config[key], base.get(key)) for key in keys}


def _own_data(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data` where an overlay has `own` over `base`: sets of one's own, or the built-in town's.

    A set of the town that the overlay does not name is left out beside sets that are not the town's.
    """
    resolved = {name: value for name, value in merged(base, own).items() if name not in SETS or value is not None}
    if not any(name in SETS and not uses_town(layout) for name, layout in resolved.items()):
        return resolved
    return {name: value for name, value in resolved.items() if name not in SETS or name in own or not uses_town(value)}


def uses_town(layout: Any, part: str = "") -> bool:
    """Whether a layout names files of the built-in town; with `part`, of that folder of it."""
    named = layout.values() if isinstance(layout, Mapping) else ()
    return any(
        f"{os.path.relpath(value)}/".startswith(TOWN + part) for value in named if value and isinstance(value, str)
    )


def check(config: Config, schemas: Mapping[str, Any]) -> None:
    """Refuse a wrong configuration before any job starts; a ConfigError lists every fault by the path of its key.

    `schemas` holds the JSON schema of each stage's resolved section (`schema.read_schemas`). A fault that many
    experiments have is one line.
    """
    faults = list(unlike_yaml(config))
    faults += [f"there is no section {name!r}" for name in config if isinstance(name, str) and name not in SECTIONS]
    missing = sorted(name for name in SECTIONS if name not in config)
    if len(missing) > 3:
        faults.append(
            f"{len(missing)} sections are missing: {', '.join(missing)}. config.yaml is the project's, whole; lines of"
            " your own stand in a file after --configfile"
        )
    else:
        faults += [f"the section {name!r} is missing" for name in missing]
    if not faults:
        errors = _Errors(schemas)
        faults = (
            _faults_of_settings(config)
            or [
                *_faults_of_unused_methods(config, errors),
                *_with_experiments(
                    (name, fault)
                    for name in config["experiments"]
                    for fault in _faults_of_experiment(config, name, errors)
                ),
                *_faults_of_members(config),
            ]
            or _faults_of_shares(config) + _faults_of_compilation(config)
        )
    if faults:
        raise ConfigError("\n".join(f"configuration: {fault}" for fault in dict.fromkeys(faults)))


def _with_experiments(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each fault once, with the experiments that have it behind; found: experiments and their faults."""
    by_fault: dict[str, list[str]] = {}
    for name, fault in found:
        by_fault.setdefault(fault, []).append(name)
    return [f"{fault} ({_named(names)})" for fault, names in by_fault.items()]


def _named(names: Sequence[str]) -> str:
    """Words for some experiments: all of a few, three of many."""
    names = list(dict.fromkeys(names))
    shown = names if len(names) <= 5 else names[:3]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"experiment{'s' if len(names) > 1 else ''} {', '.join(shown)}{more}"


def _at_experiments(found: Iterable[tuple[str, str]]) -> list[str]:
    """Each fault once, at the key of the first experiment that has it, with the others behind.

    found: experiments, and for each ".key: what is wrong" or ": what is wrong".
    """
    by_fault: dict[str, list[str]] = {}
    for name, fault in found:
        by_fault.setdefault(fault, []).append(name)
    return [
        f"experiments.{first}{fault}" + (f" (and in {_named(others)})" if others else "")
        for fault, (first, *others) in by_fault.items()
    ]


def _faults_of_overlay(config: Config, name: str, overlay: Any) -> list[str]:
    """What is wrong with the form of the experiment `name`, each behind the key "experiments.name"."""
    faults = []
    if not re.fullmatch(r"[\w.-]+", name) or name in (".", ".."):
        faults.append(f": the name {name!r} has other than letters, digits, '.', '_' and '-', or is '.' or '..'")
    if not isinstance(overlay, Mapping):
        return [*faults, f": expected sections ({{}} for none), found {overlay!r}"]
    for key, value in overlay.items():
        if key == EXTENDS:
            faults += _faults_of_extension(config, name)
        elif key == "until":
            if value not in MODEL_STAGES:
                faults.append(f".until: {value!r} is not one of {', '.join(MODEL_STAGES)}{remedy(value, 'string')}")
        elif key == ENSEMBLE:
            faults += _faults_of_ensemble(config, name)
        elif key == "town":
            faults.append(".town: there is one town for all experiments; change the section town")
        elif key not in SECTIONS - SETTINGS:
            faults.append(f": there is no section {key!r}")
        elif not isinstance(value, Mapping):
            faults.append(f".{key}: expected keys with values, found {value!r}")
    return faults


def _faults_of_settings(config: Config) -> list[str]:
    known = config["experiments"]
    if not isinstance(known, Mapping) or not known:
        return ["experiments: expected names, each with an overlay"]
    faults = _at_experiments(
        (name, fault) for name, overlay in known.items() for fault in _faults_of_overlay(config, name, overlay)
    )
    faults += [f"experiments.{name}: {fault}" for name in known for fault in _faults_of_length(str(name))]
    faults += _faults_of_case(known)
    for key in sorted(SECTIONS - SETTINGS):
        if not isinstance(config[key], Mapping):
            faults.append(f"{key}: expected keys with values, found {config[key]!r}")
    faults = faults or _faults_of_methods(config)
    for key in COMPARISONS:
        faults += _faults_of_list(key, config[key], known)
    for key in ("seeds", "table_seeds"):
        seeds = config[key]
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not whole or not seeds or len(set(seeds)) != len(seeds):
            faults.append(f"{key}: expected a list of different whole numbers >= 0, found {seeds!r}")
    if config["device"] not in ("auto", "cpu", "cuda"):
        faults.append(f"device: {config['device']!r} is not one of auto, cpu, cuda")
    return faults + _faults_of_processes(config["processes"])


def _faults_of_length(name: str) -> list[str]:
    """That a name is too long for the files that are called by it, if it is: refused before anything is trained."""
    size = len(name.encode())
    return [f"a name of {size} bytes; files are called by it, choose one of at most {MOST_BYTES}"] * (size > MOST_BYTES)


def _faults_of_case(names: Iterable[str]) -> list[str]:
    """Experiments whose results would be one folder on a disk that does not tell capital letters from small ones."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(str(name).casefold(), []).append(str(name))
    return [
        f"experiments: {' and '.join(same)} differ in capital letters alone, which some disks do not tell apart; rename"
        for same in alike.values()
        if len(same) > 1
    ]


def _faults_of_processes(chosen: Any) -> list[str]:
    if not isinstance(chosen, Mapping) or "default" not in chosen:
        return [f"processes: expected default and perhaps stages, each with a number, found {chosen!r}"]
    faults = [
        f"processes: {name!r} is none of the stages that processes can share: {', '.join(SHARED_STAGES)}"
        for name in chosen
        if name not in ("default", *SHARED_STAGES)
    ]
    for name, number in chosen.items():
        if type(number) is not int or number < 1:
            faults.append(f"processes.{name}: expected a whole number >= 1, found {number!r}")
    return faults


def _faults_of_list(key: str, names: Any, known: Mapping[str, Any]) -> list[str]:
    """What is wrong with a list of experiments under the key `key`."""
    if not isinstance(names, list) or not names:
        return [f"{key}: expected a list of experiments"]
    unknown = [name for name in names if not isinstance(name, str) or name not in known]
    if unknown:
        return [f"{key}: {_no_experiment(name, known)}" for name in unknown]
    return [f"{key}: {name!r} occurs twice; name it once" for name in dict.fromkeys(names) if names.count(name) > 1]


def _no_experiment(name: Any, known: Mapping[str, Any]) -> str:
    """That there is none of this name, and which there are: those of similar names, else some."""
    alike = get_close_matches(str(name), known, n=5) or list(known)[:5]
    more = f" and {len(known) - len(alike)} more" if len(known) > len(alike) else ""
    return f"no experiment {name!r}{remedy(name, 'string')}; there are {', '.join(alike)}{more}"


def _faults_of_ensemble(config: Config, name: str) -> list[str]:
    """What is wrong with the list of an ensemble's members, behind the key "experiments.name"."""
    where, known = f".{ENSEMBLE}", config["experiments"]
    its = known[name][ENSEMBLE]
    faults = _faults_of_list(where, its, known)
    if faults:
        return faults
    nested = [one for one in its if isinstance(known[one], Mapping) and ENSEMBLE in known[one]]
    faults = [f"{where}: {one!r} is an ensemble itself; name its members" for one in nested]
    if len(its) < 2:
        faults.append(f"{where}: an ensemble averages two experiments or more; {its[0]!r} alone is its own")
    others = ", ".join(key for key in known[name] if key != ENSEMBLE)
    if others:
        faults.append(f": an ensemble trains nothing and is evaluated as its members; remove {others}")
    return faults


def _faults_of_extension(config: Config, name: str) -> list[str]:
    """What is wrong with the experiment that another one extends, or with those which that one extends, behind the key
    "experiments.name".
    """
    where, known, seen = f".{EXTENDS}", config["experiments"], [name]
    while isinstance(known[seen[-1]], Mapping) and EXTENDS in known[seen[-1]]:
        base = known[seen[-1]][EXTENDS]
        if not isinstance(base, str) or base not in known:
            return [f"{where}: {_no_experiment(base, known)}, or name the file that has it after --configfile"]
        if base in seen:
            return [f"{where}: {' extends '.join([*seen, base])}; let one of them stand by itself"]
        seen.append(base)
    if isinstance(known[seen[-1]], Mapping) and ENSEMBLE in known[seen[-1]]:
        return [f"{where}: {seen[-1]} is an ensemble, which has nothing to extend; name one of its members"]
    return []


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


def _faults_of_shares(config: Config) -> list[str]:
    """A line for each batch, of a stage that `run` trains, which its processes cannot share equally."""
    faults = []
    for name in config["run"]:
        for stage in training_stages(config, name):
            batch_size, count = section(config, name, stage)["batch_size"], processes(config, stage)
            if batch_size % count:
                fault = (
                    f"processes: {count} cannot share {stage}.batch_size {batch_size} equally; set processes.{stage} to"
                    " a number that divides it"
                )
                faults.append((name, fault))
    return _with_experiments(faults)


def _faults_of_compilation(config: Config) -> list[str]:
    """A line for each stage whose networks are to be compiled and cannot be."""
    faults = []
    for name in config["experiments"]:
        for stage in training_stages(config, name):
            why_not = uncompilable(section(config, name, stage)["compute"], processes(config, stage))
            if why_not:
                faults.append((name, f"{why_not}; stage {stage}"))
    return _with_experiments(faults)


def uncompilable(compute: Mapping[str, Any], count: int) -> str:
    """Why a stage of `count` processes with this section `compute` cannot have compiled networks; "" where it can."""
    clashes = (
        (compute["memory"] != "fast", "cannot compile blocks that compute again: set compute.memory to fast"),
        (compute["reproducibility"] == "exact", "chooses kernels by trying: set compute.reproducibility to seeded"),
        (count > 1, "cannot compile what processes exchange: set processes to 1"),
    )
    found = [why for clashing, why in clashes if clashing]
    if not (compute["compiled"] and found):
        return ""
    return f"compute.compiled: torch.compile {'; '.join(found)}, or compute.compiled to false"


def _evaluated_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sections agree but for what a model was trained on."""
    trained_on = ("source", "night", "day")

    def rest(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in trained_on}

    return rest(one) == rest(other)


def _faults_of_methods(config: Config) -> list[str]:
    """What is wrong with the names of methods, and with the form of their sections."""
    known = list(config["methods"])

    def faults_in(values: Config) -> list[str]:
        methods, adapt = values.get("methods", {}), values.get("adapt", {})
        named = [("methods", name) for name in methods]
        named += [("adapt.method", adapt["method"])] if "method" in adapt else []
        unknown = [(where, name) for where, name in named if name not in known]
        wrong = {name: its for name, its in methods.items() if not isinstance(its, Mapping)}
        return [
            *(
                f"{where}: there is no method {name!r}{remedy(name, 'string')}; there are {', '.join(known)}"
                for where, name in unknown
            ),
            *(f"methods.{name}: expected keys with values, found {its!r}" for name, its in wrong.items()),
        ]

    of_experiments = (
        (name, f".{fault}") for name, overlay in config["experiments"].items() for fault in faults_in(overlay)
    )
    return [*faults_in(config), *_at_experiments(of_experiments)]


def _faults_of_experiment(config: Config, name: str, errors: "_Errors") -> list[str]:
    faults = []
    for stage in STAGES:
        if stage == "manifest":  # has a part of prepare's
            continue
        resolved = section(config, name, stage)
        own = merged(config.get(stage), overlay(config, name).get(stage))
        for error in errors.of(stage, resolved):
            path = _path_in_file(stage, resolved, [str(part) for part in error.absolute_path], own)
            faults.append(f"{path}: {_message(error)}")
        for path, value in _leaves(resolved):
            if path.endswith("weights") and isinstance(value, str) and value:
                where = _path_in_file(stage, resolved, path.split("."), own)
                wrong = downloads.fault(value) or downloads.misplaced(value, ".".join(where.split(".")[-2:]))
                if wrong:
                    faults.append(f"{where}: {wrong}")
    return faults or _faults_of_sets(config, name)


def _path_in_file(stage: str, resolved: Config, path: list[str], own: Config) -> str:
    """Where the value at `path` of the resolved section of `stage` stands in config.yaml; `own` is the stage's."""
    if stage in ("manifest", "prepare"):
        return ".".join(["data", *path])
    if stage == "adapt" and path[:1] == ["method"]:
        return ".".join(["methods", resolved["method"]["name"], *path[1:]])
    _, shared = STAGES[stage]
    return ".".join(path if path and path[0] in shared and not _holds(own, path) else [stage, *path])


def _holds(values: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _faults_of_unused_methods(config: Config, errors: "_Errors") -> list[str]:
    """What is wrong with the sections of methods as they stand, whether or not an experiment uses them."""
    faults = []
    base = section({**config, "experiments": {"": {}}}, "", "adapt")
    for name, values in config["methods"].items():
        for error in errors.of("adapt", {**base, "method": {"name": name, **values}}):
            path = [str(part) for part in error.absolute_path]
            if path[:1] == ["method"]:
                faults.append(f"{'.'.join(['methods', name, *path[1:]])}: {_message(error)}")
    return faults


# a whole number is written 1000: 1e3 is a float, here as in the stages
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


class _Errors:
    """The errors of resolved sections by the schemas of their stages; most experiments share most sections."""

    def __init__(self, schemas: Mapping[str, Any]):
        self.validators = {stage: _Validator(schemas[stage]) for stage in STAGES}
        self.found: dict[tuple[str, str], list[ValidationError]] = {}

    def of(self, stage: str, values: Any) -> list[ValidationError]:
        """What the schema of `stage` finds wrong with `values`."""
        key = stage, repr(values)
        if key not in self.found:
            wrong = self.validators[stage].iter_errors(values)
            self.found[key] = [plain for error in wrong for plain in _plain_errors(error)]
        return self.found[key]


def wrong_set_names(names: Iterable[str]) -> list[str]:
    """What is wrong with the names in data.night_tests, one line each: they name files and columns of tables."""
    faults = []
    for name in names:
        if not re.fullmatch(r"[\w-]+", name):
            faults.append(f"the name {name!r}: names have letters, digits, '_' and '-' alone")
        elif too_long := _faults_of_length(name):
            faults += [f"the name {name!r}: {fault}" for fault in too_long]
        elif name in SETS or name.endswith(FULL_SIZE):
            faults.append(f"the name {name!r} is taken; choose another")
    return faults


def _faults_of_sets(config: Config, name: str) -> list[str]:
    """What is wrong with the names of the sets that an experiment is measured on, if its sections are valid."""
    tests = section(config, name, "prepare").get(TESTS) or {}
    named = sets(config, name)
    known = [*(one for one in ("night", "day") if f"{one}_val" in named), *tests]
    faults = [f"data.{TESTS}: {fault}" for fault in wrong_set_names(tests)]
    if name in config["run"]:
        faults += faults_of_data(config, name)
    for one in section(config, name, "evaluate").get("full_size", []):
        if one not in known:
            there = ", ".join(known) or "none"
            faults.append(f"evaluate.full_size: no set {one!r} to measure on; there are {there}")
    return faults


def faults_of_data(config: Config, name: str) -> list[str]:
    """Why the data sets of an experiment do not go together: the town's beside one's own, or none to train on."""
    known = sets(config, name)
    towns = [f"data.{one.replace('/', '.')}" for one, layout in known.items() if uses_town(layout)]
    others = [f"data.{one.replace('/', '.')}" for one, layout in known.items() if not uses_town(layout)]
    if towns and others:
        return [
            f"{', '.join(towns)}: of the built-in town, but {', '.join(others)}: not; a network is not trained on one"
            f" world and measured in another: name your own set, or leave it out"
        ]
    needed = LEARNT if training_stages(config, name) else ()
    what = {"source": "labelled day images to learn from", "night": "unlabelled night images to adapt to"}
    beside = (
        f" beside {', '.join(others)}, and the built-in town's is not mixed with data of your own" if others else ""
    )
    return [f"data.{one}: there is no such set{beside}; name {what[one]}" for one in needed if one not in known]


def _plain_errors(error: ValidationError) -> list[ValidationError]:
    """What is wrong under the alternative that was meant, instead of "not valid under any of the given schemas".

    Meant is that of the `layout` or `name` which is given, or the one that is not null; elsewhere the error itself.
    """
    by_alternative: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        by_alternative.setdefault(inner.schema_path[0], []).append(inner)
    for inner in by_alternative.values():
        if inner[0].validator == "type" and inner[0].validator_value == "null":
            continue
        if not any(list(one.path) in (["layout"], ["name"]) for one in inner):
            return [plain for one in inner for plain in _plain_errors(one)]
    return [error]


def _message(error: ValidationError) -> str:
    if "discriminator" in error.schema:
        key = error.schema["discriminator"]["propertyName"]
        known = ", ".join(error.schema["discriminator"]["mapping"])
        found = error.instance[key]
        what = "layout" if key == "layout" else "method"
        return f"there is no {what} {found!r}{remedy(found, 'string')}; there are {known}"
    if error.validator == "pattern" and "description" in error.schema:
        return f"{error.instance!r} is not {error.schema['description']}"
    if error.instance is None:
        return f"{error.message}; write a value, or remove the key"
    if error.validator in ("enum", "const"):
        known = error.validator_value if error.validator == "enum" else [error.validator_value]
        return error.message + remedy(error.instance, "string" if isinstance(known[0], str) else "number")
    return error.message + (remedy(error.instance, error.validator_value) if error.validator == "type" else "")


def overlay(config: Config, experiment: str) -> Mapping[str, Any]:
    """What `experiment` changes, over what the one changes that it extends; an ensemble has its first member's data."""
    its = members(config, experiment)
    own = config["experiments"][its[0] if its else experiment] or {}
    if EXTENDS not in own:
        return own
    return merged(overlay(config, own[EXTENDS]), {key: value for key, value in own.items() if key != EXTENDS})


def _chain(config: Config, experiment: str) -> frozenset[str]:
    """The stage that `experiment` ends with, and all its ancestors; an ensemble trains nothing."""
    return _once(config, ("chain", experiment), lambda: frozenset(_worked_out_chain(config, experiment)))


def _worked_out_chain(config: Config, experiment: str) -> set[str]:
    if members(config, experiment):
        return ancestry(config, experiment, "prepare")
    return ancestry(config, experiment, overlay(config, experiment).get("until", "distill"))


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


def _lineage(config: Config, experiment: str, stages: tuple[str, ...]) -> str:
    """The sections of `stages` and of all their ancestors in one text, with the layouts of the sets that these read."""

    def text() -> str:
        needed = {name for stage in stages for name in ancestry(config, experiment, stage)}
        told = {name: section(config, experiment, name) for name in needed if name not in ("manifest", "prepare")}
        known = sets(config, experiment)
        read = {name: known.get(name) for stage in needed for name in reads(config, experiment, stage)}
        classes = section(config, experiment, "prepare")["classes"]
        return json.dumps([told, read, classes], sort_keys=True)

    return _once(config, ("lineage", experiment, *stages), text)


def _leaves(values: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        return [(path, values)]
    return [leaf for key, value in values.items() for leaf in _leaves(value, f"{path}.{key}" if path else str(key))]


def _plain(values: Any) -> Any:
    return json.loads(json.dumps(values))
