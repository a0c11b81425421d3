"""What is wrong with the section `search`, before its trials are made of it."""

from collections.abc import Mapping
from typing import Any

from loopda.pipeline.checking.names import faults_of_length
from loopda.pipeline.experiments import ENSEMBLE, SEARCH, SECTIONS, SETTINGS
from loopda.pipeline.merging import Config
from loopda.pipeline.search import UNTIL, points, trials
from loopda.pipeline.stages import MODEL_STAGES
from loopda.text.strict_yaml import remedy

_KEYS = {"trials", "seeds", "score", "grids"}
_ALIKE = ("town", "data", "evaluate")  # sections that are the same for all trials: their images and how they are scored


def faults_of_search(config: Config) -> list[str]:
    """What is wrong with the section `search`; the list of its seeds is checked as the other lists of seeds."""
    section, known = config[SEARCH], config["experiments"]
    if not isinstance(section, Mapping) or section.keys() != _KEYS:
        return [f"search: expected the keys {', '.join(sorted(_KEYS))}, found {section!r}"]
    faults = []
    if type(section["trials"]) is not int or section["trials"] < 1:
        faults.append(f"search.trials: expected a whole number >= 1, found {section['trials']!r}")
    if section["score"] not in ("night", "day"):
        faults.append(f"search.score: {section['score']!r} is not one of night, day, the sets of validation")
    if not isinstance(section["grids"], Mapping):
        faults.append(f"search.grids: expected experiments, each with a grid, found {section['grids']!r}")
    if faults:
        return faults
    for experiment, grid in section["grids"].items():
        if grid is None:
            continue
        if not isinstance(experiment, str) or experiment not in known:
            faults.append(f"search.grids: no experiment {experiment!r}{remedy(experiment, 'string')}; correct the name")
        elif isinstance(known[experiment], Mapping) and ENSEMBLE in known[experiment]:
            faults.append(f"search.grids.{experiment}: an ensemble trains nothing; search over its members")
        else:
            faults += [f"search.grids.{experiment}{fault}" for fault in _faults_of_grid(grid, section["trials"])]
    return faults or _faults_of_names(config)


def _faults_of_grid(grid: Any, count: int) -> list[str]:
    """What is wrong with one grid; each line goes on from its key."""
    if not isinstance(grid, Mapping):
        return [f": expected settings, each with a list of values, found {grid!r}"]
    faults = []
    settings = {path: values for path, values in grid.items() if path != UNTIL and values is not None}
    if grid.get(UNTIL) not in (None, *MODEL_STAGES):
        faults.append(f".{UNTIL}: {grid[UNTIL]!r} is not one of {', '.join(MODEL_STAGES)}")
    for path, values in settings.items():
        section, _, rest = str(path).partition(".")
        if not rest or section not in SECTIONS - SETTINGS:
            faults.append(f": {path!r} is no setting; write its path in config.yaml, as in adapt.optimizer.lr")
        elif section in _ALIKE:
            faults.append(f": {path}: trials have the same images and are scored alike; leave {section} out")
        elif not isinstance(values, list) or not values:
            faults.append(f".{path}: expected a list of values, found {values!r}")
    if not faults and (len(points(settings)) != count or not settings):
        sizes = " x ".join(str(len(values)) for values in settings.values()) or "no"
        faults.append(
            f": {sizes} values are not the {count} trials that every experiment has (search.trials); change the lists,"
            " or set a setting that is not to be searched to null"
        )
    return faults


def _faults_of_names(config: Config) -> list[str]:
    """A line for each trial whose name another experiment has, or is too long."""
    made = [trial.name for name, grid in config[SEARCH]["grids"].items() if grid for trial in trials(config, name)]
    return [
        *(
            f"experiments.{name}: a trial of `search` has this name; rename"
            for name in made
            if name in config["experiments"]
        ),
        *(f"search: {name}: {fault}" for name in made for fault in faults_of_length(name)),
    ]
