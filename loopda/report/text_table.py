"""Tables as text. What the terminal shows of a report: the scores, how they were measured, what is missing, where the
page is."""

from collections.abc import Sequence
from pathlib import Path

from loopda.pipeline.stages import stage_title
from loopda.report.results import Results
from loopda.report.summary import MeanScores, choice_note, far_lines, set_title, shown
from loopda.report.words import MINUS, NONE, seed_list

_COLUMNS = ("mIoU", "change", "fwIoU", "accuracy")


def text_table(results: Results, title: str, page: Path) -> str:
    """The table under `title` as text; page: where the page is."""
    names = results.domains
    deviation = ", mean ± sample standard deviation, change [95 % interval]" if len(results.seeds) > 1 else ""
    lines = [f"{title} ({seed_list(results.seeds)}{deviation}; percent)"]
    lines += [f"{set_title(name)}: {' | '.join(results.protocols[name])}" for name in names]
    lines += [*far_lines(results.by_statistics), *results.unmeasured, *filter(None, [choice_note(names)]), ""]
    # all scores of the first set of images, mean IoU of the others, two sets at a time: it must fit a terminal
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
    lines = [["stage", *(f"{_short(name)} {key}" if key == "mIoU" else key for name, key in columns)]]
    for stage, by_domain in results.scores.items():
        cells = {name: _cells(scores) for name, scores in by_domain.items()}
        lines.append([stage_title(stage), *(cells[name][key] if name in cells else NONE for name, key in columns)])
    return aligned(lines).replace(MINUS, "-").replace(NONE, "-")


def _short(domain: str) -> str:
    """The title of a set of images, short enough for a column."""
    return set_title(domain).replace("validation", "val")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of text without boxes: the first flush left, the others flush right, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def _cells(scores: MeanScores) -> dict[str, str]:
    texts = (shown(scores.mIoU), shown(scores.gain, signed=True), shown(scores.fwIoU), shown(scores.pixel_accuracy))
    return dict(zip(_COLUMNS, texts, strict=True))


def markdown_table(lines: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """A table in Markdown; `left`: the columns of text."""
    columns = []
    for place, (head, *cells) in enumerate(zip(*lines, strict=True)):
        width = max(3, *map(len, (head, *cells)))
        mark = "-" * width if place in left else "-" * (width - 1) + ":"
        columns.append([cell.ljust(width) if place in left else cell.rjust(width) for cell in (head, mark, *cells)])
    return [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]
