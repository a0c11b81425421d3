"""What is wrong with the settings of a configuration, and with the form of its experiments and methods."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from loopda.pipeline.checking.messages import at_experiments
from loopda.pipeline.checking.names import faults_of_case, faults_of_length
from loopda.pipeline.checking.search import faults_of_search
from loopda.pipeline.experiments import COMPARISONS, EXTENDS, SEARCH, SECTIONS, SETTINGS
from loopda.pipeline.merging import Config
from loopda.pipeline.stages import DISTRIBUTED_STAGES, ENSEMBLE, MODEL_STAGES
from loopda.text.strict_yaml import remedy


def faults_of_settings(config: Config) -> list[str]:
    """What is wrong with what belongs to no stage: lists, seeds, device, processes, experiments and methods."""
    known = config["experiments"]
    if not isinstance(known, Mapping) or not known:
        return ["experiments: expected names, each with an overlay"]
    faults = at_experiments(
        (name, fault) for name, overlay in known.items() for fault in _faults_of_overlay(config, name, overlay)
    )
    faults += [f"experiments.{name}: {fault}" for name in known for fault in faults_of_length(str(name))]
    faults += faults_of_case(known)
    for key in sorted(SECTIONS - SETTINGS):
        if not isinstance(config[key], Mapping):
            faults.append(f"{key}: expected keys with values, found {config[key]!r}")
    faults = faults or _faults_of_methods(config)
    for key in COMPARISONS:
        faults += _faults_of_list(key, config[key], known)
    if (name := config["differences_from"]) != "" and (not isinstance(name, str) or name not in known):
        faults.append(f'differences_from: {_no_experiment(name, known)}; "" leaves the differences out')
    faults = faults or faults_of_search(config)
    lists = {key: config[key] for key in ("seeds", "table_seeds")}
    if isinstance(config[SEARCH], Mapping):
        lists["search.seeds"] = config[SEARCH].get("seeds")
    for key, seeds in lists.items():
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not whole or not seeds or len(set(seeds)) != len(seeds):
            faults.append(f"{key}: expected a list of different whole numbers >= 0, found {seeds!r}")
    if config["device"] not in ("auto", "cpu", "cuda"):
        faults.append(f"device: {config['device']!r} is not one of auto, cpu, cuda")
    return faults + _faults_of_processes(config["processes"])


def _faults_of_overlay(config: Config, name: str, overlay: Any) -> list[str]:
    """What is wrong with the form of the experiment `name`; each line goes on from the key "experiments.name"."""
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


def _faults_of_extension(config: Config, name: str) -> list[str]:
    """What is wrong with the chain of experiments that `name` extends; each line goes on from "experiments.name"."""
    where, known, seen = f".{EXTENDS}", config["experiments"], [name]
    while isinstance(known[seen[-1]], Mapping) and EXTENDS in known[seen[-1]]:
        base = known[seen[-1]][EXTENDS]
        if not isinstance(base, str) or base not in known:
            return [f"{where}: {_no_experiment(base, known)}; if another file has it, name the file after --configfile"]
        if base in seen:
            return [f"{where}: {' extends '.join([*seen, base])}; let one of them stand by itself"]
        seen.append(base)
    if isinstance(known[seen[-1]], Mapping) and ENSEMBLE in known[seen[-1]]:
        return [f"{where}: {seen[-1]} is an ensemble, which has nothing to extend; name one of its members"]
    return []


def _faults_of_ensemble(config: Config, name: str) -> list[str]:
    """What is wrong with the members of the ensemble `name`; each line goes on from the key "experiments.name"."""
    where, known = f".{ENSEMBLE}", config["experiments"]
    members = known[name][ENSEMBLE]
    faults = _faults_of_list(where, members, known)
    if faults:
        return faults
    nested = [member for member in members if isinstance(known[member], Mapping) and ENSEMBLE in known[member]]
    faults = [f"{where}: {member!r} is an ensemble itself; name its members" for member in nested]
    if len(members) < 2:
        faults.append(f"{where}: an ensemble averages two experiments or more; {members[0]!r} alone is its own")
    others = ", ".join(key for key in known[name] if key != ENSEMBLE)
    if others:
        faults.append(f": an ensemble trains nothing and is evaluated as its members; remove {others}")
    return faults


def _faults_of_list(key: str, names: Any, known: Mapping[str, Any]) -> list[str]:
    """What is wrong with the list of experiments under `key`."""
    if not isinstance(names, list) or not names:
        return [f"{key}: expected a list of experiments"]
    unknown = [name for name in names if not isinstance(name, str) or name not in known]
    if unknown:
        return [f"{key}: {_no_experiment(name, known)}" for name in unknown]
    return [f"{key}: {name!r} occurs twice; name it once" for name in dict.fromkeys(names) if names.count(name) > 1]


def _no_experiment(name: Any, known: Mapping[str, Any]) -> str:
    """That there is no experiment `name`, and which ones of similar names there are, or else the first ones."""
    missing = f"no experiment {name!r}{remedy(name, 'string')}"
    if alike := get_close_matches(str(name), known, n=5):
        return f"{missing}; similar names: {', '.join(alike)}"
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return f"{missing}; the experiments are {', '.join(list(known)[:5])}{more}"


def _faults_of_processes(chosen: Any) -> list[str]:
    """What is wrong with the numbers of processes, by stage."""
    if not isinstance(chosen, Mapping) or "default" not in chosen:
        return [f"processes: expected default and perhaps stages, each with a number, found {chosen!r}"]
    faults = [
        f"processes: {name!r} is not one of the stages that processes can share: {', '.join(DISTRIBUTED_STAGES)}"
        for name in chosen
        if name not in ("default", *DISTRIBUTED_STAGES)
    ]
    for name, number in chosen.items():
        if type(number) is not int or number < 1:
            faults.append(f"processes.{name}: expected a whole number >= 1, found {number!r}")
    return faults


def _faults_of_methods(config: Config) -> list[str]:
    """What is wrong with the names of methods, and with the form of their sections."""
    known = list(config["methods"])

    def faults_in(values: Config) -> list[str]:
        methods, adapt = values.get("methods", {}), values.get("adapt", {})
        named = [("methods", name) for name in methods]
        named += [("adapt.method", adapt["method"])] if "method" in adapt else []
        unknown = [(where, name) for where, name in named if name not in known]
        wrong = {name: section for name, section in methods.items() if not isinstance(section, Mapping)}
        return [
            *(
                f"{where}: there is no method {name!r}{remedy(name, 'string')}; the methods are {', '.join(known)}"
                for where, name in unknown
            ),
            *(f"methods.{name}: expected keys with values, found {section!r}" for name, section in wrong.items()),
        ]

    of_experiments = (
        (name, f".{fault}") for name, overlay in config["experiments"].items() for fault in faults_in(overlay)
    )
    return [*faults_in(config), *at_experiments(of_experiments)]
