"""The search over settings: the trials of each experiment with their validation scores, the best of them, and its place
in the grid. As a page, as tables (Markdown, CSV), and as an overlay of config.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import pandas as pd
import yaml

from loopda.config import Section
from loopda.errors import DataError
from loopda.pipeline.merging import merged
from loopda.pipeline.search import nested
from loopda.pipeline.stages import stage_title
from loopda.report.inputs import Evaluation
from loopda.report.page import render
from loopda.report.summary import Cell, measure, protocols, set_title, shown
from loopda.report.text_table import markdown_table
from loopda.report.versions import versions
from loopda.report.words import listed, seed_list

TITLE = "The search over settings"


class ListedTrial(Section):
    """A trial. scored_as: the experiment in whose folder its scores are. settings: path of config.yaml -> value."""

    name: str
    scored_as: str
    settings: dict[str, Any]


class ListedExperiment(Section):
    """An experiment, the stage whose models are scored, and its grid: path of config.yaml -> values."""

    experiment: str
    stage: str
    grid: dict[str, list[Any]]
    trials: tuple[ListedTrial, ...]


class SearchSettings(Section):
    """What was searched, by the scores of which validation set, over which seeds."""

    score: Literal["night", "day"]
    seeds: tuple[int, ...]
    searched: tuple[ListedExperiment, ...]


@dataclass(frozen=True)
class Trial:
    """A trial with its mean IoU over seeds, None where it is undefined. is_best: the first of the best."""

    name: str
    settings: str
    score: Cell | None
    is_best: bool


@dataclass(frozen=True)
class Searched:
    """An experiment with its trials. best: the settings of the best one, {} without scores. edges: those of its
    settings that lie at an end of their lists of numbers, in words."""

    experiment: str
    stage: str
    trials: tuple[Trial, ...]
    best: dict[str, Any]
    edges: tuple[str, ...]
    protocols: tuple[str, ...]


def searched(config: SearchSettings, evaluations: Sequence[Evaluation]) -> list[Searched]:
    """The results of the search. DataError where a trial has no scores of a seed, or where test images were scored."""
    by_model: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        if further := evaluation.domains.keys() - {"night", "day"}:
            raise DataError(
                f"{evaluation.read_from}: it scores {listed(sorted(further))} too; settings are chosen on validation"
                " images alone: give the scores of trials"
            )
        by_model.setdefault((evaluation.experiment, evaluation.model_stage), []).append(evaluation)
    return [_of_experiment(one, by_model, config) for one in config.searched]


def _of_experiment(
    one: ListedExperiment, by_model: dict[tuple[str, str], list[Evaluation]], config: SearchSettings
) -> Searched:
    cells, seen = [], []
    for trial in one.trials:
        found = by_model.get((trial.scored_as, one.stage), [])
        if missing := sorted({*config.seeds} - {evaluation.seed for evaluation in found}):
            raise DataError(
                f"--scores has none of {one.stage} of {trial.name} with {seed_list(missing)}; give them too"
            )
        found = [evaluation for evaluation in found if evaluation.seed in config.seeds]
        cells.append(measure(found, config.score, lambda scores: scores.mIoU))
        seen += found
    scored = [place for place, cell in enumerate(cells) if cell]
    best = max(scored, key=lambda place: cells[place].mean) if scored else None
    chosen = {} if best is None else one.trials[best].settings
    trials = [
        Trial(trial.name, in_words(trial.settings), cell, place == best)
        for place, (trial, cell) in enumerate(zip(one.trials, cells, strict=True))
    ]
    edges = tuple(filter(None, (edge(path, value, one.grid[path]) for path, value in chosen.items())))
    return Searched(one.experiment, one.stage, tuple(trials), chosen, edges, tuple(protocols(seen, config.score)))


def edge(path: str, value: Any, values: Sequence[Any]) -> str:
    """`adapt.optimizer.lr 0.003 is the largest of 4`; "" inside of the list, and for what has no order."""
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < max(2, len(values)) or min(numbers) < value < max(numbers):
        return ""
    return f"{path} {_text(value)} is the {'smallest' if value == min(numbers) else 'largest'} of {len(numbers)}"


def in_words(settings: dict[str, Any]) -> str:
    """`adapt.optimizer.lr 0.003, translate.weights.cycle 5`."""
    return ", ".join(f"{path} {_text(value)}" for path, value in settings.items())


def notes(config: SearchSettings, results: Sequence[Searched]) -> list[str]:
    """How the settings were chosen, and where the best lies at the edge of its grid."""
    count = len(config.searched[0].trials)
    several = ", mean ± sample standard deviation" if len(config.seeds) > 1 else ""
    measured = dict.fromkeys(line for one in results for line in one.protocols)
    return [
        f"Every experiment has {count} trials. The best has the highest mIoU in percent, {set_title(config.score)}"
        f" ({seed_list(config.seeds)}{several}), last checkpoints. No trial is scored on test images.",
        f"Measured on: {' | '.join(measured)}.",
        *(f"At the edge of its grid: {one.experiment}, {listed(one.edges)}." for one in results if one.edges),
        *(f"{one.experiment}: no trial has a score." for one in results if not one.best),
    ]


def frame(results: Sequence[Searched]) -> pd.DataFrame:
    """One line per trial; the mean IoU in percent, empty where it is undefined."""
    return pd.DataFrame(
        {
            "experiment": one.experiment,
            "model_stage": one.stage,
            "trial": trial.name,
            "settings": trial.settings,
            "seeds": trial.score.seeds if trial.score else 0,
            "mIoU": trial.score and trial.score.mean,
            "mIoU_std": trial.score and trial.score.std,
            "best": trial.is_best,
            "edge": "; ".join(one.edges) if trial.is_best else "",
        }
        for one in results
        for trial in one.trials
    )


def markdown(config: SearchSettings, results: Sequence[Searched]) -> str:
    """A table of all trials, and notes."""
    lines = [["trial", "settings", f"{set_title(config.score)} mIoU", "best"]]
    for one in results:
        lines += [[each.name, each.settings, shown(each.score), "best" * each.is_best] for each in one.trials]
    text = [f"## {TITLE}", "", *markdown_table(lines, left=(0, 1, 3)), ""]
    return "\n".join([*text, *(f"{note}\n" for note in notes(config, results))])


def search_page(config: SearchSettings, results: Sequence[Searched]) -> str:
    """The page as HTML."""
    return render(
        "search.html",
        {
            "stage": "search",
            "title": TITLE,
            "statement": f"{len(results)} experiments, as many trials of each, chosen on validation images alone.",
            "tiles": [],
            "contents": [("Trials", "trials"), ("Notes", "notes")],
            "score": config.score,
            "results": [(one, stage_title(one.stage)) for one in results],
            "notes": notes(config, results),
            "versions": versions(),
        },
    )


def best_overlay(config: SearchSettings, results: Sequence[Searched]) -> str:
    """An overlay of config.yaml that gives each experiment its best settings."""
    chosen = {
        one.experiment: reduce(merged, (nested(path, value) for path, value in one.best.items()))
        for one in results
        if one.best
    }
    head = (
        f"# Chosen by `snakemake search` on {set_title(config.score)} images, {seed_list(config.seeds)}.\n"
        "# Give this file after --configfile, or copy its lines into config.yaml.\n"
    )
    return head + yaml.safe_dump({"experiments": chosen}, sort_keys=False, allow_unicode=True)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
