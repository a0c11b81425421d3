"""Which experiments have results on disk. They keep these, whatever the order of the experiments in config.yaml.

The disk is read once, with the configuration. Nothing heavy is imported.
"""

from collections import defaultdict
from pathlib import Path

from loopda.pipeline.experiments import as_yaml, section, set_section, sets
from loopda.pipeline.merging import Config
from loopda.pipeline.stages import STAGES

BEGUN, FINISHED = 1, 2
_UNFINISHED = ("config.yaml", "state", "checked")  # in a folder of results before its stage has finished


def claims(config: Config, root: Path) -> dict[str, dict[str, int]]:
    """Results -> experiment -> FINISHED if the folder `root` has these results of the experiment, BEGUN if a part.

    Results are named as a stage, "evaluate/<stage of the model>", or "manifest/<set>". They count only if they were
    made with the settings of `config`: the config.yaml beside them is compared.
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for stage, entry in STAGES.items():
        for experiment in config["experiments"]:
            folder = root / "results" / stage / experiment
            if stage == "manifest":
                for name in sets(config, experiment) if folder.is_dir() else ():
                    if _is_of(folder / name, as_yaml(set_section(config, experiment, name))):
                        finished = folder.joinpath(f"{name}.csv").exists()
                        found[f"manifest/{name}"][experiment] = FINISHED if finished else BEGUN
                continue
            text = None
            for place in folder.glob("seed*") if entry.seeded else [folder]:
                text = text or as_yaml(section(config, experiment, stage))
                if _is_of(place, text):
                    made = [path.name for path in place.iterdir() if path.name not in _UNFINISHED]
                    _claim(found[stage], experiment, FINISHED if made else BEGUN)
                    for name in made if stage == "evaluate" else ():
                        if name.endswith(".json"):
                            _claim(found[f"evaluate/{name.removesuffix('.json')}"], experiment, FINISHED)
    return dict(found)


def _is_of(folder: Path, text: str) -> bool:
    """Whether the results in `folder` were made, or begun, with the section `text`."""
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _claim(found: dict[str, int], experiment: str, state: int) -> None:
    found[experiment] = max(state, found.get(experiment, 0))
