"""Models of many experiments side by side: one page and its table, as Markdown and CSV, beside published numbers.

Nothing is trained or evaluated here. Our numbers and the papers' stand in tables of their own: data, networks and
protocols differ, so that only the order of methods can be compared.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from loopda.config import Section
from loopda.errors import DataError
from loopda.report.comparison import Listed, Side, sides
from loopda.report.comparison_page import APART, TITLES, comparison_page, costs, notes, shared
from loopda.report.inputs import Evaluation, origin, read_evaluations, read_metrics, read_peak_memory
from loopda.report.published import Published, published
from loopda.report.summary import NONE, Cell, check_comparable, domains, shown
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text, written
from loopda.runtime.log import Log


class Trained(Section):
    """A training behind a row, and the experiment that owns it."""

    experiment: str
    stage: str
    steps: int


class Line(Section):
    """A row: a model stage, what was trained for it, and its own settings as paths of config.yaml."""

    experiment: str
    stage: str
    members: tuple[str, ...]
    tau: float | None
    trained: tuple[Trained, ...]
    own: dict[str, Any]

    def listed(self) -> Listed:
        """The row as the report reads it."""
        places = tuple((one.stage, one.experiment) for one in self.trained)
        steps = sum(one.steps for one in self.trained)
        return Listed(self.experiment, self.stage, self.members, self.tau, places, steps, self.own)


class Config(Section):
    """What `pipeline.comparisons.table` derives of the configuration. common: the settings that the rows share."""

    comparison: Literal["compare", "parts", "networks", "ablation", "tau"]
    common: dict[str, Any]
    rows: tuple[Line, ...]


@writes("page")
def run(
    *,
    config: Config,
    scores: list[Path],
    metrics: list[Path],
    benchmarks: list[Path],
    page: Path,
    table: Path,
    csv: Path,
    log: Path,
) -> None:
    """Write the `page` (HTML), the `table` (Markdown) and the `csv` of a comparison.

    scores: JSON files of `evaluate` for every row and seed. metrics: metrics.jsonl of the trainings behind the rows.
    benchmarks: Snakemake's measurements of these trainings, benchmarks/<stage>/<experiment>/seed<k>.tsv; what is
    missing there leaves a dash. DataError where a row has no scores, or rows cannot be compared.
    """
    if not scores:
        raise DataError("--scores names no file; a comparison needs the scores of every row")
    out = Log(log, "compare")

    # read
    evaluations = read_evaluations(scores)
    check_comparable(evaluations)
    recorded = [read_metrics(path) for path in metrics]
    memory = {key: peak for path in benchmarks if (peak := read_peak_memory(path)) is not None for key in [_run(path)]}

    # compare
    rows = sides([line.listed() for line in config.rows], evaluations, recorded, memory)
    papers = published(config.comparison)

    # write
    names = domains(evaluations)
    with written(csv) as temporary:
        frame(rows, names).to_csv(temporary, index=False, float_format="%.4f")
    write_text(table, markdown(config, rows, evaluations, papers))
    write_text(page, comparison_page(config.comparison, rows, evaluations, papers, shared(config.common)))
    out.say(f"{len(rows)} models over {len({one.seed for one in evaluations})} seeds: {page}, {table}")


def frame(rows: Sequence[Side], names: Sequence[str]) -> pd.DataFrame:
    """One line per row and set of images; scores in percent, seconds, MB; empty where there is no number."""
    return pd.DataFrame(
        {
            "method": side.title,
            "experiment": side.listed.experiment,
            "model_stage": side.listed.stage,
            "images": name,
            "seeds": len(score.seeds),
            **_columns("mIoU", score.mIoU),
            **_columns("gain", score.gain),
            **_columns("fwIoU", score.fwIoU),
            **_columns("pixel_accuracy", score.pixel_accuracy),
            **_columns("images_per_second", side.cost.speed),
            **_columns("training_seconds", side.cost.seconds),
            **_columns("peak_memory_mb", side.cost.memory),
            "memory_of": "" if side.cost.memory is None else "GPU" if side.cost.on_gpu else "process",
            "steps": side.listed.steps,
            "own_settings": side.own,
            **{
                key: value for name_, cell in side.classes[name].items() for key, value in _columns(name_, cell).items()
            },
        }
        for side in rows
        for name in names
        if (score := side.scores.get(name)) is not None
    )


def markdown(
    config: Config, rows: Sequence[Side], evaluations: Sequence[Evaluation], papers: Sequence[Published]
) -> str:
    """The table, IoU per class for each set of images, and the published numbers, ready for a README."""
    names = domains(evaluations)
    heads = ["method"]
    for name in names:
        heads += [f"{name} mIoU", "gain"] + (["fwIoU", "accuracy"] if name == names[0] else [])
    lines = [[*heads, "steps", "images/s", "training", "memory, MB", "own settings"]]
    for side in rows:
        cells = [side.title]
        for name in names:
            score = side.scores.get(name)
            cells += [shown(score and score.mIoU), shown(score and score.gain, signed=True)]
            cells += [shown(score and score.fwIoU), shown(score and score.pixel_accuracy)] if name == names[0] else []
        lines.append([*cells, *costs(side).values(), side.own])
    text = [f"## {TITLES[config.comparison]}", "", *_marked(lines, left=(0, len(lines[0]) - 1)), ""]
    text += [shared(config.common), *notes(evaluations)]
    for name in names:
        table = [["method", *evaluations[0].classes, "mean"]]
        for side in rows:
            if name in side.scores:
                cells = [*side.classes[name].values(), side.scores[name].mIoU]
                table.append([side.title, *(NONE if cell is None else f"{cell.mean:.1f}" for cell in cells)])
        text += ["", f"### IoU per class, {name}", "", *_marked(table, left=(0,))]
    text += ["", "### Published", "", APART, "", *_marked(_published_lines(papers), left=(0, 1, 2, 3, 7))]
    return "\n".join(text) + "\n"


def _published_lines(papers: Sequence[Published]) -> list[list[str]]:
    heads = ["method", "network", "trained on", "measured on", "mIoU", "fwIoU", "accuracy", "source"]
    return [heads] + [
        [
            one.method, one.network or NONE, one.training, one.test,
            *(NONE if value is None else f"{value:.1f}" for value in (one.mIoU, one.fwIoU, one.accuracy)), one.source,
        ]
        for one in papers
    ]  # fmt: skip


def _columns(name: str, cell: Cell | None) -> dict[str, float | None]:
    return {name: cell and cell.mean, f"{name}_std": cell and cell.std}


def _marked(lines: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """A table in Markdown; `left`: the columns of text."""
    columns = []
    for place, (head, *cells) in enumerate(zip(*lines, strict=True)):
        width = max(3, *map(len, (head, *cells)))
        mark = "-" * width if place in left else "-" * (width - 1) + ":"
        columns.append([cell.ljust(width) if place in left else cell.rjust(width) for cell in (head, mark, *cells)])
    return [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]


def _run(benchmark: Path) -> tuple[str, str, int]:
    """Stage, experiment and seed of benchmarks/<stage>/<experiment>/seed<k>.tsv."""
    place = origin(benchmark.with_suffix("") / benchmark.name)
    return place.stage, place.experiment, place.seed


if __name__ == "__main__":
    command(run)
