"""The checked configuration: as the Snakefile has it, and as the commands that run beside Snakemake read it."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from loopda.errors import ConfigError
from loopda.pipeline.checking import check
from loopda.pipeline.claims import claims
from loopda.pipeline.experiments import CLAIMS, CachedConfig
from loopda.pipeline.merging import Config, merged_by_key, normalised
from loopda.pipeline.schema import read_schemas
from loopda.pipeline.search import with_trials
from loopda.text.strict_yaml import read_mapping


def read_config(overlays: Sequence[Path], root: Path = Path()) -> CachedConfig:
    """config.yaml in the folder `root` with `overlays` over it, merged as Snakemake merges them.

    ConfigError: a file is missing or the configuration is wrong.
    """
    path = root / "config.yaml"
    if not path.exists():
        raise ConfigError(
            f"{path}: not in the folder {root.absolute()}. Give this command in the folder where snakemake works, or"
            " copy the project's config.yaml here"
        )
    base, *others = (read_mapping(path) for path in (path, *overlays))
    over = reduce(merged_by_key, others, {})
    return checked(merged_by_key(merged_by_key(over, base), over), base, others, root)


def checked(config: Config, base: Config, overlays: Sequence[Config], root: Path = Path()) -> CachedConfig:
    """`config`, which Snakemake has merged from config.yaml (`base`) and `overlays`, with the trials of its
    search as experiments, and the `claims` of `root`.

    ConfigError: the configuration is wrong.
    """
    config = normalised(config, base, overlays)
    check(config, read_schemas())
    config = with_trials(config)
    return CachedConfig({**config, CLAIMS: claims(config, root)})
