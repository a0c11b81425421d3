"""Models of many experiments side by side: one page and its table, as Markdown and CSV, beside published numbers.

Nothing is trained or evaluated here. Our numbers and the papers' stand in tables of their own: data, networks and
protocols differ, so that only the order of methods can be compared.
"""

from pathlib import Path
from typing import Any, Literal

from loopda.config import Section
from loopda.errors import DataError
from loopda.pipeline.experiments import COMPARISONS
from loopda.report.comparison import ListedModel, compared
from loopda.report.comparison_page import comparison_page
from loopda.report.comparison_tables import frame, markdown
from loopda.report.inputs import origin, read_evaluations, read_metrics, read_peak_memory
from loopda.report.published import published_scores
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text, written
from loopda.runtime.log import Log


class Config(Section):
    """What `pipeline.comparisons.table` derives of the configuration. common: the settings that the rows share."""

    comparison: Literal[COMPARISONS]
    common: dict[str, Any]
    rows: tuple[ListedModel, ...]


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
    logger = Log(log, "compare")

    # read
    evaluations = read_evaluations(scores)
    recorded = [read_metrics(path) for path in metrics]
    memory = {_training(path): peak for path in benchmarks if (peak := read_peak_memory(path)) is not None}

    # compare
    papers = published_scores(config.comparison)
    comparison = compared(config.comparison, config.rows, evaluations, recorded, memory, papers, config.common)

    # write
    with written(csv) as temporary:
        frame(comparison).to_csv(temporary, index=False, float_format="%.4f")
    write_text(table, markdown(comparison))
    write_text(page, comparison_page(comparison))
    logger.say(f"{len(comparison.rows)} models over {len(comparison.seeds)} seeds: {page}, {table}")


def _training(benchmark: Path) -> tuple[str, str, int]:
    """Stage, experiment and seed of benchmarks/<stage>/<experiment>/seed<k>.tsv."""
    place = origin(benchmark.with_suffix("") / benchmark.name)
    return place.stage, place.experiment, place.seed


if __name__ == "__main__":
    command(run)
