"""Merging the mappings of a configuration: an overlay over its base, and several files as Snakemake does it."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Config = Mapping[str, Any]


def merged(base: Any, overlay: Any) -> Any:
    """`base` with the values of `overlay`; mappings are merged key by key, everything else is replaced.

    A mapping that names another `layout` replaces that of the base as a whole, for the keys of one layout mean nothing
    to another. An overlay that is None changes nothing, but a null inside it is a value like any other.
    """
    if overlay is None:
        return copy.deepcopy(base if base is not None else {})
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return sorted_behind("name", copy.deepcopy(overlay))
    if "layout" in overlay and overlay["layout"] != base.get("layout"):
        return copy.deepcopy(overlay)
    result = {key: copy.deepcopy(value) for key, value in base.items()}
    for key, value in overlay.items():
        result[key] = None if value is None else merged(base.get(key), value)
    return result


def normalised(config: Config, base: Config, overlays: Sequence[Config]) -> Config:
    """`config`, which Snakemake has merged from config.yaml (`base`) and `overlays`, as this module would merge them.

    That is in the order of `base`, and without the keys of layouts that an overlay replaces: `data: {night: {layout:
    folder, ...}}` over config.yaml leaves no keys of its layout dark_zurich.
    """
    by_key, by_layout = {}, {}
    for layer in (base, *overlays):
        by_key, by_layout = merged_by_key(by_key, layer), merged(by_layout, layer)
    return in_order(_without(config, by_key, by_layout), base)


def merged_by_key(base: Any, overlay: Any) -> Any:
    """`base` with the values of `overlay`, merged as Snakemake merges configuration files: always key by key."""
    if not (isinstance(base, Mapping) and isinstance(overlay, Mapping)):
        return overlay
    return {**base, **{key: merged_by_key(base.get(key), value) for key, value in overlay.items()}}


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
    """`config` with the keys of each mapping in the order of `base`, followed by those that `base` does not have.

    Snakemake puts the keys of an overlay before those of config.yaml. In the order of config.yaml, a stage's section
    and the owner of its results do not depend on the order of the files.
    """
    if not (isinstance(config, Mapping) and isinstance(base, Mapping)):
        return config
    keys = [*(key for key in base if key in config), *(key for key in config if key not in base)]
    return {key: in_order(config[key], base.get(key)) for key in keys}


def sorted_behind(first: str, values: Any) -> Any:
    """`values`; each mapping in it that has the key `first` begins with it; its other keys are sorted."""
    if not isinstance(values, Mapping):
        return values
    keys = [first, *sorted(values.keys() - {first})] if first in values else values
    return {key: sorted_behind(first, values[key]) for key in keys}


def leaves(values: Any, path: str = "") -> list[tuple[str, Any]]:
    """Each value of nested mappings that is no mapping, with its path: `("optimizer.lr", 0.001)`."""
    if not isinstance(values, Mapping):
        return [(path, values)]
    return [leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}" if path else str(key))]
