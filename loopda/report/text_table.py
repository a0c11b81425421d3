"""What the terminal shows of a report: the scores, how they were measured, what is missing, where the page is."""

from collections.abc import Sequence
from pathlib import Path

from loopda.pipeline.stages import stage_title
from loopda.report.results import Results
from loopda.report.summary import MeanScores, far_lines, shown
from loopda.report.words import MINUS, NONE, seed_list

_COLUMNS = ("mIoU", "change", "fwIoU", "accuracy")


def text_table(results: Results, title: str, page: Path) -> str:
    """The table under `title` as text; page: where the page is."""
    names = results.domains
    deviation = ", mean ± sample standard deviation" if len(results.seeds) > 1 else ""
    lines = [f"{title} ({seed_list(results.seeds)}{deviation}; percent)"]
    lines += [f"{name} validation: {' | '.join(results.protocols[name])}" for name in names]
    lines += [*far_lines(results.by_statistics), *results.unmeasured, ""]
    # all scores of the first set of images (night), mean IoU of the others, two sets at a time: it must fit a terminal
    for first in range(0, len(names), 2):
        columns = [
            (name, key)
            for name in names[first : first + 2]
            for key in (_COLUMNS if name == names[0] else ("mIoU", "change"))
        ]
        lines += [_block(results, columns), ""]
    lines += [f"missing: {line}" for line in results.missing]
    return "\n".join([*lines, f"report: {page}"]) + "\n"


def _block(results: Results, columns: Sequence[tuple[str, str]]) -> str:
    """A line for each stage; columns: (set of images, one of _COLUMNS)."""
    lines = [["stage", *(f"{name} {key}" if key == "mIoU" else key for name, key in columns)]]
    for stage, by_domain in results.scores.items():
        cells = {name: _cells(scores) for name, scores in by_domain.items()}
        lines.append([stage_title(stage), *(cells[name][key] if name in cells else NONE for name, key in columns)])
    return aligned(lines).replace(MINUS, "-").replace(NONE, "-")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of text without boxes: the first flush left, the others flush right, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def _cells(scores: MeanScores) -> dict[str, str]:
    texts = (shown(scores.mIoU), shown(scores.gain, signed=True), shown(scores.fwIoU), shown(scores.pixel_accuracy))
    return dict(zip(_COLUMNS, texts, strict=True))
