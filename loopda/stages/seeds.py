"""The table over seeds and experiments: mean, spread, and the gain over source-only, at night and by day.

Nothing is trained or evaluated here; the scores of `evaluate` are gathered into a table for people (Markdown,
as in the README) and one for programs (CSV).
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from loopda.errors import DataError
from loopda.pipeline.stages import stage_title
from loopda.report.inputs import Evaluation, read_evaluations
from loopda.report.summary import Cell, MeanScores, check_comparable, domains, protocols, rows, shown
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text, written
from loopda.runtime.log import Log


@writes("table")
def run(*, scores: list[Path], table: Path, csv: Path, log: Path) -> None:
    """Write the Markdown `table` and the `csv` of all experiments, model stages and seeds in `scores`.

    scores: JSON files of `evaluate`. An experiment that has no source-only model of its own shares another's,
    and is compared with that, if it is the only one there is. DataError where models of one experiment cannot
    be compared.
    """
    if not scores:
        raise DataError("--scores names no file; a table needs the scores of at least one model")
    out = Log(log, "seeds")
    evaluations = read_evaluations(scores)
    for experiment in _experiments(evaluations):
        check_comparable([one for one in evaluations if one.experiment == experiment])
    found = rows(evaluations)
    write_text(table, markdown(evaluations, found))
    with written(csv) as temporary:
        frame(found).to_csv(temporary, index=False, float_format="%.4f")
    out.say(f"{len(evaluations)} models, {len(found)} rows: {table}, {csv}")


def frame(found: Sequence[MeanScores]) -> pd.DataFrame:
    """One line per experiment, model stage and set of images; scores in percent, empty where undefined."""
    return pd.DataFrame(
        {
            "experiment": row.experiment,
            "model_stage": row.stage,
            "images": row.domain,
            "seeds": len(row.seeds),
            **_columns("mIoU", row.mIoU),
            **_columns("fwIoU", row.fwIoU),
            **_columns("pixel_accuracy", row.pixel_accuracy),
            **_columns("gain", row.gain),
        }
        for row in found
    )


def markdown(evaluations: Sequence[Evaluation], found: Sequence[MeanScores]) -> str:
    """One line per experiment and model stage, the sets of images side by side, the protocol below."""
    names = domains(evaluations)
    heads = ["experiment", "stage"]
    for name in names:
        heads += [f"{name} mIoU", "gain", "fwIoU", "accuracy"] if name == names[0] else [f"{name} mIoU", "gain"]
    lines = [[*heads, "seeds"]]
    for experiment, stage in dict.fromkeys((row.experiment, row.stage) for row in found):
        by_domain = {row.domain: row for row in found if (row.experiment, row.stage) == (experiment, stage)}
        cells = [experiment, stage_title(stage)]
        for name in names:
            row = by_domain.get(name)
            cells += [shown(row and row.mIoU), shown(row and row.gain, signed=True)]
            if name == names[0]:
                cells += [shown(row and row.fwIoU), shown(row and row.pixel_accuracy)]
        seeds = sorted({seed for row in by_domain.values() for seed in row.seeds})
        lines.append([*cells, str(len(seeds))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = ["-" * widths[0], "-" * widths[1], *("-" * (width - 1) + ":" for width in widths[2:])]
    body = [_line(cells, widths) for cells in (lines[0], marks, *lines[1:])]
    legend = (
        "Percent; mean ± sample standard deviation over seeds. Gain: mIoU less that of source-only, paired by seed."
    )
    return "\n".join([*body, "", legend, *_protocol_lines(evaluations)]) + "\n"


def _protocol_lines(evaluations: Sequence[Evaluation]) -> list[str]:
    """A line per set of images; a line per experiment where experiments differ."""
    result = []
    for domain in domains(evaluations):
        by_experiment = {
            experiment: " | ".join(protocols([one for one in evaluations if one.experiment == experiment], domain))
            for experiment in _experiments(evaluations)
        }
        texts = dict.fromkeys(text for text in by_experiment.values() if text)
        for text in texts:
            who = [experiment for experiment, its in by_experiment.items() if its == text]
            where = f" ({', '.join(who)})" if len(texts) > 1 else ""
            result.append(f"{domain.capitalize()} validation{where}: {text}.")
    return result


def _experiments(evaluations: Sequence[Evaluation]) -> list[str]:
    return sorted({one.experiment for one in evaluations})


def _columns(name: str, cell: Cell | None) -> dict[str, float | None]:
    return {name: cell and cell.mean, f"{name}_std": cell and cell.std}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    padded += [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return f"| {' | '.join(padded)} |"


if __name__ == "__main__":
    command(run)
