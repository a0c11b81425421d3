"""The search over settings (`snakemake search`): its trials, and the section of the stage that compares them.

A trial is an ordinary experiment, `<experiment>-trial<k>`: the experiment with one point of its grid. So trials share
stages, resume and run on a cluster as all experiments do. They have no test sets: settings are chosen on validation.
Pure functions on plain dictionaries, without heavy imports: the Snakefile calls them each time it is parsed.
"""

from functools import reduce
from itertools import product
from typing import Any, NamedTuple

from loopda.errors import ConfigError
from loopda.pipeline.experiments import EXTENDS, SEARCH, Config, model_stages, owner, scored_as, sets
from loopda.pipeline.merging import merged
from loopda.pipeline.stages import MEASURED, TESTS

UNTIL = "until"  # the key of a grid that names the stage its trials end with; all other keys are settings
_WITHOUT_TESTS = {"data": {"day_test": None, "night_test": None, TESTS: None}, "evaluate": {"full_size": []}}


class Trial(NamedTuple):
    """The experiment `experiment` with the `settings` (path of config.yaml -> value), a point of its grid."""

    experiment: str
    number: int
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the experiment that it is."""
        return f"{self.experiment}-trial{self.number}"


def grids(config: Config) -> dict[str, dict[str, Any]]:
    """Experiment -> its grid; what an overlay has set to null is left out."""
    known = config[SEARCH]["grids"].items()
    return {
        experiment: {path: values for path, values in grid.items() if values is not None}
        for experiment, grid in known
        if grid is not None
    }


def points(grid: Config) -> list[dict[str, Any]]:
    """All combinations of the values of a grid, as settings; the last setting changes first."""
    values = {path: values for path, values in grid.items() if path != UNTIL}
    return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


def trials(config: Config, experiment: str) -> list[Trial]:
    """The trials of `experiment`, numbered from 1."""
    found = enumerate(points(grids(config)[experiment]), start=1)
    return [Trial(experiment, number, settings) for number, settings in found]


def with_trials(config: Config) -> Config:
    """`config` with the trials as experiments, behind all others."""
    made = {
        trial.name: _overlay(trial, grid.get(UNTIL))
        for experiment, grid in grids(config).items()
        for trial in trials(config, experiment)
    }
    return {**config, "experiments": {**config["experiments"], **made}}


def models(config: Config) -> list[tuple[Trial, str, str]]:
    """Each trial, its last model stage, and the experiment in whose folder the scores of that model are."""
    return [
        (trial, stage, scored_as(config, trial.name, stage))
        for experiment in grids(config)
        for trial in trials(config, experiment)
        for stage in [model_stages(config, trial.name)[-1]]
    ]


def table(config: Config) -> dict[str, Any]:
    """The section of the stage `search`.

    ConfigError: an experiment has no validation set to score its trials by, or two of its trials are the same.
    """
    score = config[SEARCH]["score"]
    searched: dict[str, dict[str, Any]] = {}
    trained: dict[tuple[str, str], Trial] = {}
    for trial, stage, folder in models(config):
        if MEASURED[score] not in sets(config, trial.name):
            raise ConfigError(
                f"search.score: {trial.experiment} has no set data.{MEASURED[score]}; name one, or leave its grid out"
                f" (search.grids.{trial.experiment}: null)"
            )
        same = trained.setdefault((trial.experiment, owner(config, trial.name, stage)), trial)
        if same != trial:
            raise ConfigError(
                f"search.grids.{trial.experiment}: {same.settings} and {trial.settings} are one training: the stages up"
                f" to {stage} do not read what differs, or a value occurs twice; correct the settings"
            )
        grid = {path: values for path, values in grids(config)[trial.experiment].items() if path != UNTIL}
        entry = {"experiment": trial.experiment, "stage": stage, "grid": grid, "trials": []}
        searched.setdefault(trial.experiment, entry)["trials"].append(
            {"name": trial.name, "scored_as": folder, "settings": trial.settings}
        )
    return {"score": score, "seeds": config[SEARCH]["seeds"], "searched": list(searched.values())}


def nested(path: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` of the path "a.b"."""
    return reduce(lambda inner, key: {key: inner}, reversed(path.split(".")), value)


def _overlay(trial: Trial, until: str | None) -> dict[str, Any]:
    settings = reduce(merged, (nested(path, value) for path, value in trial.settings.items()))
    return {EXTENDS: trial.experiment, **({UNTIL: until} if until else {}), **settings, **_WITHOUT_TESTS}
