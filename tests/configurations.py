"""Changed copies of a configuration."""

import copy
from typing import Any

Config = dict[str, Any]


def changed(config: Config, path: str, value: Any) -> Config:
    """A copy of `config` with another value at `path`, whose parts are separated by '/'."""
    result = copy.deepcopy(config)
    *folders, name = path.split("/")
    place = result
    for folder in folders:
        if place.get(folder) is None:
            place[folder] = {}
        place = place[folder]
    place[name] = value
    return result


def with_experiment(config: Config, name: str, overlay: Any) -> Config:
    return changed(config, f"experiments/{name}", overlay)
