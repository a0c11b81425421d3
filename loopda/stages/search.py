"""Stage `search`: the trials of every experiment side by side, and the settings that are best on validation images.

Nothing is trained or evaluated here: trials are experiments (`loopda.pipeline.search`), without test sets.
"""

from pathlib import Path

from loopda.errors import DataError
from loopda.report.inputs import read_evaluations
from loopda.report.search import SearchSettings, best_overlay, frame, markdown, search_page, searched
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text, written
from loopda.runtime.log import Log


class Config(SearchSettings):
    """What `pipeline.search.table` derives of the configuration."""


@writes("page")
def run(*, config: Config, scores: list[Path], page: Path, table: Path, csv: Path, best: Path, log: Path) -> None:
    """Write the `page` (HTML), the `table` (Markdown), the `csv`, and an overlay of the `best` settings (YAML).

    scores: JSON files of `evaluate` for every trial and seed. DataError where one is missing, or scores test images.
    """
    if not scores:
        raise DataError("--scores names no file; a search needs the scores of every trial")
    logger = Log(log, "search")
    results = searched(config, read_evaluations(scores))
    with written(csv) as temporary:
        frame(results).to_csv(temporary, index=False, float_format="%.4f")
    write_text(best, best_overlay(config, results))
    write_text(table, markdown(config, results))
    write_text(page, search_page(config, results))
    logger.say(
        f"{sum(len(one.trials) for one in results)} trials of {len(results)} experiments: {page}, {table}, {best}"
    )


if __name__ == "__main__":
    command(run)
