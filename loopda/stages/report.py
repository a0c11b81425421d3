"""One page about one experiment: scores, curves, pictures, and the configuration behind every number.

The page is a single HTML file that needs nothing else; the table is what the terminal shows at the end.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field

from loopda.config import Section
from loopda.errors import ConfigError, DataError
from loopda.pipeline.stages import stage_order, stage_title
from loopda.report import page as parts
from loopda.report.inputs import (
    Evaluation,
    Illustrations,
    Overlap,
    Threshold,
    read_evaluations,
    read_illustrations,
    read_metrics,
    read_ranking,
)
from loopda.report.summary import MINUS, NONE, Row, aligned, check_comparable, domains, protocols, shown
from loopda.report.versions import versions
from loopda.runtime.command import command, writes
from loopda.runtime.files import write_text
from loopda.runtime.log import Log


class Config(Section):
    """The look of the page.

    title: "" takes the experiment's name. gallery_images, gallery_day_images: rows of the galleries at night
    and by day. picture_width: in pixels; larger pictures are scaled down to it.
    """

    title: str = ""
    gallery_images: int = Field(default=6, ge=0)
    gallery_day_images: int = Field(default=2, ge=0)
    picture_width: int = Field(default=512, ge=16)


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
    page: Path,
    table: Path,
    log: Path,
) -> None:
    """Write the page (HTML) and the table (text) of one experiment.

    scores: JSON files of `evaluate`, any seeds and model stages. metrics: metrics.jsonl of the training
    stages. pictures: illustrations.json files. sections: the config.yaml of every stage. Any of the last
    three may be empty; what is missing is listed on the page. DataError where inputs contradict each other.
    ranking, sheet: of `pair`, one seed's ranking.json and contact_sheet.png, where the experiment has pairs.
    """
    out = Log(log, "report")
    if (ranking is None) != (sheet is None):
        raise ConfigError("--ranking and --sheet: give both files of the stage `pair`, or neither")

    # read
    evaluations = _evaluations(scores)
    recorded = [read_metrics(path) for path in metrics]
    drawn = [read_illustrations(path) for path in pictures]
    # pictures are those of one seed: the numbers are over all
    drawn = [one for one in drawn if one.seed == min(other.seed for other in drawn)]
    out.say(f"{len(scores)} models, {len(metrics)} records, {len(pictures)} files of pictures")

    # count and draw
    title = config.title or f"Experiment {evaluations[-1].experiment}"
    absent = parts.missing(evaluations, recorded, drawn, sections)
    content = {
        "title": title,
        **_results(evaluations),
        **_gallery(evaluations, config),
        **_illustrations(evaluations, drawn, config),
        "curves": parts.curves(recorded),
        "curve_seeds": parts.seed_colours(recorded),
        "models": parts.model_lines(evaluations),
        "sections": parts.section_lines(sections),
        "versions": versions(),
        "notes": _notes(evaluations, drawn),
        "missing": [*parts.unmeasured(evaluations), *absent],
    }
    if ranking and sheet:
        several = len(content["seeds"]) > 1
        content["panels"].append(parts.pairs_panel(read_ranking(ranking), sheet, several_seeds=several))

    # write
    html = parts.render("page.html", {"stage": "report", **content, "contents": _contents(content)})
    write_text(table, _text_table(title, evaluations, absent, page))
    write_text(page, html)
    out.say(f"{page}, {len(html) / 1e6:.1f} MB")


def _evaluations(scores: Sequence[Path]) -> list[Evaluation]:
    """The scores in the order of the pipeline, one model per stage and seed, all comparable."""
    if not scores:
        raise DataError("--scores names no file; a report needs the scores of at least one model")
    evaluations = sorted(read_evaluations(scores), key=lambda one: (stage_order(one.model_stage), one.seed))
    for one, other in pairwise(evaluations):
        if (one.model_stage, one.seed) == (other.model_stage, other.seed):
            raise DataError(
                f"{one.read_from} and {other.read_from} are of different experiments, but both are"
                f" {one.model_stage} with seed {one.seed}; a report is about one experiment"
            )
    check_comparable(evaluations)
    return evaluations


def _results(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The head of the page and its tables and figures of scores."""
    names = domains(evaluations)
    return {
        "statement": parts.statement(evaluations),
        "tiles": parts.tiles(evaluations),
        "classes": parts.legend(evaluations[0]),
        "seeds": sorted({one.seed for one in evaluations}),
        "domains": names,
        "headline": [
            {
                "title": stage_title(stage),
                "rows": [by_domain.get(domain) for domain in names],
                "seeds": max((len(row.seeds) for row in by_domain.values()), default=0),
            }
            for stage, by_domain in parts.headline(evaluations).items()
        ],
        "protocols": parts.protocol_lines(evaluations),
        **parts.charts(evaluations),
        "class_tables": parts.class_tables(evaluations),
    }


def _gallery(evaluations: Sequence[Evaluation], config: Config) -> dict[str, Any]:
    """What the models of the first seed predict."""
    first = min(one.seed for one in evaluations)
    models = [one for one in evaluations if one.seed == first]
    counts = {"night": config.gallery_images, "day": config.gallery_day_images}
    return {"shown_seed": first, "gallery": parts.gallery(models, counts, config.picture_width)}


def _illustrations(evaluations: Sequence[Evaluation], drawn: Sequence[Illustrations], config: Config) -> dict[str, Any]:
    """The pictures that stages drew, all of one seed, and the statistics of the pseudo-labels."""
    overlaps, tau = _overlaps(drawn)
    thresholds = _thresholds(drawn)
    return {
        "illustrated_seed": drawn[0].seed if drawn else None,
        "panels": parts.panels(drawn, config.picture_width),
        "overlap": parts.overlap_part(overlaps, tau) if overlaps else None,
        "thresholds": parts.threshold_lines(thresholds, evaluations[0]) if thresholds else [],
    }


def _notes(evaluations: Sequence[Evaluation], drawn: Sequence[Illustrations]) -> list[str]:
    """What to know before quoting a number, each once."""
    return list(dict.fromkeys([*parts.protocol_notes(evaluations), *(note for one in drawn for note in one.notes)]))


def _overlaps(drawn: Sequence[Illustrations]) -> tuple[list[Overlap], float | None]:
    overlaps = [overlap for one in drawn for overlap in one.lor]
    taus = {one.tau for one in drawn if one.lor and one.tau is not None}
    if len(taus) > 1:
        raise DataError(f"the illustrations have different values of tau: {sorted(taus)}; give those of one experiment")
    return overlaps, taus.pop() if taus else None


def _thresholds(drawn: Sequence[Illustrations]) -> dict[str, Threshold]:
    given = [one for one in drawn if one.thresholds]
    if len(given) > 1 and any(one.thresholds != given[0].thresholds for one in given):
        raise DataError(
            f"{given[0].read_from} and {given[-1].read_from} have different thresholds; give those of one experiment"
        )
    return given[0].thresholds if given else {}


def _contents(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The links at the head of the page: name and target of each part that there is."""
    there = [
        ("Results", "results", True),
        ("Gallery", "gallery", content["gallery"]),
        ("IoU per class", "classes", True),
        ("Translations and pseudo-labels", "illustrations", content["panels"]),
        ("Pseudo-label statistics", "pseudo-labels", content["overlap"] or content["thresholds"]),
        ("Learning curves", "curves", content["curves"]),
        ("Behind the numbers", "provenance", True),
        ("Notes", "notes", content["notes"] or content["missing"]),
    ]
    return [(name, target) for name, target, shown_on_page in there if shown_on_page]


def _text_table(title: str, evaluations: Sequence[Evaluation], absent: Sequence[str], page: Path) -> str:
    """What the terminal shows: the headline table, its protocol, what is missing, where the page is."""
    seeds = sorted({one.seed for one in evaluations})
    names = domains(evaluations)
    deviation = ", mean ± sample standard deviation" if len(seeds) > 1 else ""
    heads = [f"{name} validation: {' | '.join(protocols(evaluations, name))}" for name in names]
    heads += parts.unmeasured(evaluations)
    text = [f"{title} ({parts.seed_list(seeds)}{deviation}; percent)", *heads, ""]
    # the full scores of the first set of images (night), mean IoU of the others, two at a time: it must fit a terminal
    for first in range(0, len(names), 2):
        shown_names = names[first : first + 2]
        columns = [
            (name, key) for name in shown_names for key in (_COLUMNS if name == names[0] else ("mIoU", "change"))
        ]
        text += [_columns_as_text(evaluations, columns), ""]
    text += [f"missing: {line}" for line in absent]
    return "\n".join([*text, f"report: {page}"]) + "\n"


def _columns_as_text(evaluations: Sequence[Evaluation], columns: Sequence[tuple[str, str]]) -> str:
    """A line for each stage; columns: (set of images, one of _COLUMNS)."""
    lines = [["stage", *(f"{name} {key}" if key == "mIoU" else key for name, key in columns)]]
    for stage, by_domain in parts.headline(evaluations).items():
        cells = {name: _row_cells(row) for name, row in by_domain.items()}
        lines.append([stage_title(stage), *(cells[name][key] if name in cells else NONE for name, key in columns)])
    return aligned(lines).replace(MINUS, "-").replace(NONE, "-")


_COLUMNS = ("mIoU", "change", "fwIoU", "accuracy")


def _row_cells(row: Row) -> dict[str, str]:
    cells = (shown(row.mIoU), shown(row.gain, signed=True), shown(row.fwIoU), shown(row.pixel_accuracy))
    return dict(zip(_COLUMNS, cells, strict=True))


if __name__ == "__main__":
    command(run)
