"""The section "Pseudo-label statistics": label overlap ratios, and thresholds of the offline pseudo-labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loopda.errors import DataError
from loopda.report.figures import distance_groups, overlap_histogram
from loopda.report.illustrations import Illustrations, Overlap, Threshold
from loopda.report.inputs import Evaluation
from loopda.report.page import PageSettings, css_colour
from loopda.report.results import Results

ANCHOR, LINK = "pseudo-labels", "Pseudo-label statistics"


def section(results: Results, settings: PageSettings) -> dict[str, Any] | None:
    """The values of pseudo_labels.html; None without statistics."""
    drawn = results.illustrations
    overlaps = [overlap for one in drawn for overlap in one.lor]
    tau, thresholds = common_tau(drawn), common_thresholds(drawn)
    if not overlaps and not thresholds:
        return None
    return {
        "illustrated_seed": drawn[0].seed,
        "overlap": overlap_part(overlaps, tau) if overlaps else None,
        "thresholds": threshold_lines(thresholds, results.evaluations[0]) if thresholds else [],
    }


def common_tau(drawn: Sequence[Illustrations]) -> float | None:
    """The tau of all illustrations with overlap ratios; DataError where they differ."""
    taus = {one.tau for one in drawn if one.lor and one.tau is not None}
    if len(taus) > 1:
        raise DataError(f"the illustrations have different values of tau: {sorted(taus)}; give those of one experiment")
    return taus.pop() if taus else None


def common_thresholds(drawn: Sequence[Illustrations]) -> Mapping[str, Threshold]:
    """Class -> threshold and counts; DataError where the illustrations differ."""
    given = [one for one in drawn if one.thresholds]
    if len(given) > 1 and any(one.thresholds != given[0].thresholds for one in given):
        raise DataError(
            f"{given[0].read_from} and {given[-1].read_from} have different thresholds; give those of one experiment"
        )
    return given[0].thresholds if given else {}


def overlap_part(overlaps: Sequence[Overlap], tau: float | None) -> dict[str, str]:
    """The histogram of label overlap ratios, and the same in words."""
    names = dict.fromkeys(overlap.chosen for overlap in overlaps)
    chosen = {name: sum(overlap.chosen == name for overlap in overlaps) for name in names}
    caption = f"Label overlap ratio of {len(overlaps)} night images and their day references."
    if tau is not None:
        caption += f" τ = {tau:g}: {sum(overlap.lor > tau for overlap in overlaps)} lie above."
    caption += f" Labels used: {', '.join(f'{name} for {count}' for name, count in chosen.items())}."
    groups = distance_groups(overlaps)
    if len(groups) > 1:
        medians = [
            f"{name} {np.median([overlap.lor for overlap in members]):.2f} ({len(members)})"
            for name, members in groups
            if members
        ]
        caption += (
            " Shade: the true distance between the two cameras, which the method does not know;"
            f" median ratio (images): {', '.join(medians)}."
        )
    return {"svg": overlap_histogram(overlaps, tau), "caption": caption}


def threshold_lines(thresholds: Mapping[str, Threshold], evaluation: Evaluation) -> list[dict[str, Any]]:
    """A line for each class of the offline pseudo-labels, and their sum.

    DataError where the class list of `evaluation` lacks a class.
    """
    foreign = [name for name in thresholds if name not in evaluation.classes]
    if foreign:
        raise DataError(
            f"the illustrations have thresholds for {', '.join(foreign)}, which the scores' class list lacks;"
            " the inputs belong to different data"
        )
    colours = dict(zip(evaluation.classes, map(css_colour, evaluation.colours), strict=True))

    def line(name: str, threshold: str, predicted: int, kept: int) -> dict[str, Any]:
        percent = round(100 * kept / predicted, 1) if predicted else None
        return {
            "name": name,
            "colour": colours.get(name, ""),
            "threshold": threshold,
            "predicted": f"{predicted:,}",
            "kept": f"{kept:,}",
            "share": "–" if percent is None else f"{percent:.1f} %",
            "width": percent,
            "total": name not in colours,
        }

    lines = [
        # a class that was never predicted has no threshold; the file has some number in its place
        line(name, f"{one.threshold:.3f}" if one.predicted else "–", one.predicted, one.kept)
        for name in evaluation.classes
        if (one := thresholds.get(name))
    ]
    sums = sum(one.predicted for one in thresholds.values()), sum(one.kept for one in thresholds.values())
    return [*lines, line("all classes", "", *sums)]
