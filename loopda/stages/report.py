"""Stage `report`: one page about one experiment, with scores, curves, pictures, and the configuration behind them.

The page is a single HTML file that needs nothing else. The table is what the terminal shows at the end.
"""

from pathlib import Path

from loopda.data.ranking import read_ranking
from loopda.errors import ConfigError
from loopda.report.data_notes import read_data_notes
from loopda.report.illustrations import read_illustrations
from loopda.report.inputs import read_configuration, read_evaluations, read_metrics
from loopda.report.page import PageSettings
from loopda.report.report_page import report_page
from loopda.report.results import Pairs, Results, of_lowest_seed, one_experiment
from loopda.report.text_table import text_table
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text
from loopda.runtime.log import Log


class Config(PageSettings):
    """The look of the page.

    title: "" takes the experiment's name. gallery_images, gallery_day_images: rows of the galleries at night
    and by day. picture_width: in pixels; larger pictures are scaled down to it.
    """


@writes("page")
def run(
    *,
    config: Config,
    scores: list[Path],
    metrics: list[Path],
    pictures: list[Path],
    ranking: Path | None = None,
    sheet: Path | None = None,
    sections: list[Path],
    data: Path | None = None,
    page: Path,
    table: Path,
    log: Path,
) -> None:
    """Write the page (HTML) and the table (text) of one experiment.

    scores: JSON files of `evaluate`, any seeds and model stages. metrics: metrics.jsonl of the training stages.
    pictures: illustrations.json files. sections: the config.yaml of every stage. The last three may be empty; the page
    lists what is missing. ranking, sheet: ranking.json and contact_sheet.png of `pair` for one seed, where the
    experiment has pairs. data: summary.json of `prepare`, whose notes the page shows.
    DataError where inputs contradict each other.
    """
    logger = Log(log, "report")
    if (ranking is None) != (sheet is None):
        raise ConfigError("--ranking and --sheet: give both files of the stage `pair`, or neither")

    # read
    results = Results(
        evaluations=one_experiment(read_evaluations(scores)),
        metrics=[read_metrics(path) for path in metrics],
        illustrations=of_lowest_seed([read_illustrations(path) for path in pictures]),
        configurations=[read_configuration(path) for path in sections],
        pairs=Pairs(read_ranking(ranking), sheet) if ranking and sheet else None,
        data=read_data_notes(data) if data else None,
    )
    logger.say(f"{len(scores)} models, {len(metrics)} records, {len(pictures)} files of pictures")

    # write
    title = config.title or f"Experiment {results.evaluations[-1].experiment}"
    html = report_page(results, title, config)
    write_text(table, text_table(results, title, page))
    write_text(page, html)
    logger.say(f"{page}, {len(html) / 1e6:.1f} MB")


if __name__ == "__main__":
    command(run)
