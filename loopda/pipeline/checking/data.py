"""What is wrong with the data sets of an experiment: which there are, and whether they go together."""

from loopda.pipeline.checking.names import faults_of_set_names
from loopda.pipeline.experiments import BY_SET, section, sets, training_stages, uses_town
from loopda.pipeline.merging import Config
from loopda.pipeline.stages import MEASURED, TESTS


def faults_of_sets(config: Config, name: str) -> list[str]:
    """What is wrong with the data sets of the experiment `name`, whose sections agree with the schemas."""
    tests = section(config, name, "prepare").get(TESTS) or {}
    named = sets(config, name)
    measured = [*(domain for domain, key in MEASURED.items() if key in named), *tests]
    faults = [f"data.{TESTS}: {fault}" for fault in faults_of_set_names(tests)]
    if name in config["run"]:
        faults += faults_of_data(config, name)
    known = f"the sets are {', '.join(measured)}" if measured else "the experiment has none"
    evaluated = section(config, name, "evaluate")
    return faults + [
        f"evaluate.{key}: no set {chosen!r} to measure on; {known}"
        for key in BY_SET
        for chosen in evaluated.get(key, ())
        if chosen not in measured and (key == "full_size" or chosen not in MEASURED)  # as a trial, without test sets
    ]


def faults_of_data(config: Config, name: str) -> list[str]:
    """What is wrong with the choice of data sets: some of the built-in town and some not, some that the town is
    not to have, or none to train on."""
    known = sets(config, name)
    towns = [f"data.{data_set.replace('/', '.')}" for data_set, layout in known.items() if uses_town(layout)]
    others = [f"data.{data_set.replace('/', '.')}" for data_set, layout in known.items() if not uses_town(layout)]
    if towns and others:
        return [
            f"{', '.join(towns)}: of the built-in town, but {', '.join(others)}: not; a network is not trained on one"
            f" world and measured in another: name your own set, or leave it out"
        ]
    undrawn = [
        f"data.{key}: the built-in town is to have no such images (town.{key}: 0); write a number there, or"
        f" data.{key}: null"
        for key in ("day_test", "night_test")
        if uses_town(known.get(key)) and not config["town"].get(key)
    ]
    if undrawn:
        return undrawn
    what = {"source": "labelled day images to learn from", "night": "unlabelled night images to adapt to"}
    needed = what if training_stages(config, name) else ()
    beside = (
        f" beside {', '.join(others)}, and the built-in town's is not mixed with data of your own" if others else ""
    )
    missing = [data_set for data_set in needed if data_set not in known]
    return [f"data.{data_set}: there is no such set{beside}; name {what[data_set]}" for data_set in missing]
