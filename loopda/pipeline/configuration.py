"""Reading the configuration of a folder as Snakemake reads it, for the commands that run beside it."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from loopda.errors import ConfigError
from loopda.pipeline.checking import check
from loopda.pipeline.claims import claims
from loopda.pipeline.experiments import CLAIMS, CachedConfig
from loopda.pipeline.merging import merged_by_key, normalised
from loopda.pipeline.schema import read_schemas
from loopda.text.strict_yaml import read_mapping


def read_config(overlays: Sequence[Path], root: Path = Path()) -> CachedConfig:
    """config.yaml in the folder `root` with `overlays` over it, merged as Snakemake merges them.

    ConfigError: a file is missing or the configuration is wrong.
    """
    base = root / "config.yaml"
    if not base.exists():
        raise ConfigError(
            f"{base}: not in the folder {root.absolute()}; the status is that of a folder where snakemake works: go"
            " there, or copy the project's config.yaml here"
        )
    first, *others = (read_mapping(path) for path in (base, *overlays))
    over = reduce(merged_by_key, others, {})
    config = merged_by_key(merged_by_key(over, first), over)
    config = normalised(config, first, others)
    check(config, read_schemas())
    return CachedConfig({**config, CLAIMS: claims(config, root)})
