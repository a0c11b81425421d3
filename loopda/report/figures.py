"""The figures of the pages, as SVG elements (see `svg`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from loopda.report.illustrations import Overlap
from loopda.report.summary import Cell, hue, set_title
from loopda.report.svg import COLOUR, SERIES, SERIES_COUNT, canvas, figure_legend, styled, svg_element
from loopda.report.words import MINUS

NEARNESS = ((0.5, "under 0.5 m"), (2.0, "0.5 to 2 m"), (5.0, "2 to 5 m"), (float("inf"), "5 m and more"))
"""Upper bound in metres and name of each group of distances between the cameras of a night image and its reference."""

_BINS = 20
_POINTS = 240  # of a curve: more cannot be seen, and the page would grow
_SMOOTHED = 12  # a curve with fewer points is drawn as it is


@dataclass(frozen=True)
class SeedCurve:
    """The learning curve of one seed: (steps, values), each (N,)."""

    seed: int
    steps: np.ndarray
    values: np.ndarray


def stage_chart(stages: Sequence[str], scores: dict[str, Sequence[Cell | None]], height: float = 330) -> str:
    """Mean IoU over the stages, a line for each set of images. Whiskers are one sample standard deviation."""
    with styled("stages"):
        figure, axes = canvas(560, height, left=38, right=18, top=34, bottom=34)
        ends = []
        for index, (domain, cells) in enumerate(scores.items()):
            colour = COLOUR.get(hue(domain), SERIES[(index + 2) % SERIES_COUNT])
            places = [place for place, cell in enumerate(cells) if cell]
            present = [cell for cell in cells if cell]
            means = [cell.mean for cell in present]
            axes.plot(places, means, color=colour, linewidth=2.5, zorder=3)
            deviations = [cell.std or 0.0 for cell in present]
            if any(deviations):
                axes.errorbar(
                    places, means, yerr=deviations, fmt="none", color=colour, elinewidth=1.5, capsize=4, zorder=3
                )
            axes.plot(
                places, means, "o", markersize=8, color=colour, markeredgecolor=COLOUR["card"], markeredgewidth=2,
                zorder=4,
            )  # fmt: skip
            for place, cell in zip(places, present, strict=True):
                # the number of the highest line stands above its point, the others below theirs
                rivals = [others[place].mean for others in scores.values() if others[place]]
                side = 1 if cell.mean == max(rivals) else -1
                axes.annotate(
                    f"{cell.mean:.1f}", (place, cell.mean + side * (cell.std or 0.0)), (0, 10 * side),
                    textcoords="offset points", ha="center", va="bottom" if side > 0 else "top", color=colour,
                    fontsize=12, fontweight="bold",
                )  # fmt: skip
            ends.append((domain, colour))
        highest = max((cell.mean + (cell.std or 0) for cells in scores.values() for cell in cells if cell), default=100)
        axes.set_ylim(0, highest * 1.16 or 1)
        axes.set_xlim(-0.35, len(stages) - 0.65)
        axes.set_xticks(range(len(stages)), stages)
        axes.tick_params("x", labelcolor=COLOUR["ink"], labelsize=12)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        figure_legend(
            figure, [(f"{set_title(domain)} mIoU, %", colour, "o") for domain, colour in ends], left=38, top=12
        )
        return svg_element(figure, "stages", "Mean IoU of every model stage")


def bar_chart(key: str, names: Sequence[str], cells: Sequence[Cell | None], kinds: Sequence[str], title: str) -> str:
    """A horizontal bar for each model, its deviation as a whisker; kinds: "bracket" draws it in grey.

    The first bar's length goes on as a line through the others.
    """
    width, height = 1080, 29 * len(names) + 40
    ends = [cell.mean + (cell.std or 0.0) for cell in cells if cell]
    colours = [COLOUR["muted" if kind == "bracket" else "night"] for kind in kinds]
    with styled(key):
        figure, axes = canvas(width, height, left=178, right=24, top=8, bottom=30)
        for place, (cell, colour) in enumerate(zip(cells, colours, strict=True)):
            if cell is None:
                continue
            axes.barh(place, cell.mean, height=0.62, color=colour, alpha=0.85, zorder=2)
            if cell.std:
                axes.errorbar(
                    cell.mean, place, xerr=cell.std, fmt="none", color=COLOUR["ink"], elinewidth=1.4, capsize=3.5,
                    zorder=3,
                )  # fmt: skip
            axes.annotate(
                cell.text(), (cell.mean + (cell.std or 0.0), place), (8, 0), textcoords="offset points", va="center",
                color=COLOUR["ink"], fontsize=11.5,
            )  # fmt: skip
        if cells[0]:
            axes.axvline(cells[0].mean, color=COLOUR["muted"], linewidth=1.2, linestyle=(0, (2, 3)), zorder=1)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params("y", labelcolor=COLOUR["ink"], labelsize=12)
        axes.set_xlim(0, max(ends, default=100) * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")
        return svg_element(figure, key, title)


def tau_chart(points: Sequence[tuple[float, Cell]], title: str, colour: str = "night") -> str:
    """Mean IoU over tau, 0 ... 1, in order of tau; whiskers are one sample standard deviation."""
    key = f"tau-{colour}"
    with styled(key):
        figure, axes = canvas(520, 290, left=44, right=20, top=34, bottom=44)
        taus, means = [tau for tau, _ in points], [cell.mean for _, cell in points]
        deviations = [cell.std or 0.0 for _, cell in points]
        axes.plot(taus, means, "-o", color=COLOUR[colour], linewidth=2.2, markersize=7, zorder=3)
        if any(deviations):
            axes.errorbar(
                taus, means, yerr=deviations, fmt="none", color=COLOUR[colour], elinewidth=1.4, capsize=4, zorder=2
            )
        for place, (tau, mean, deviation) in enumerate(zip(taus, means, deviations, strict=True)):
            # the number of a point that is close to the one before stands below it
            side = -1 if place and tau - taus[place - 1] < 0.1 else 1
            axes.annotate(
                f"{mean:.1f}", (tau, mean + side * deviation), (0, 8 * side), textcoords="offset points", ha="center",
                va="bottom" if side > 0 else "top", color=COLOUR[colour], fontsize=11.5, fontweight="bold",
            )  # fmt: skip
        low = min(mean - deviation for mean, deviation in zip(means, deviations, strict=True))
        high = max(mean + deviation for mean, deviation in zip(means, deviations, strict=True))
        room = max(1.0, 0.25 * (high - low))
        axes.set_ylim(low - 1.6 * room, high + 1.6 * room)
        axes.set_xlim(-0.06, 1.06)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_xlabel("τ", fontsize=12, labelpad=6)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        figure.text(10 / 520, 1 - 16 / 290, title, color=COLOUR["ink"], fontsize=12, va="center")
        return svg_element(figure, key, title)


def class_chart_height(classes: int) -> float:
    """Pixels: a line per class, the axis, the key."""
    return 21 * classes + 66


def class_chart(names: Sequence[str], before: Sequence[float], after: Sequence[float], labels: tuple[str, str]) -> str:
    """IoU of each class before (ring) and after (dot); NaN where a class has none."""
    with styled("classes"):
        figure, axes = canvas(560, class_chart_height(len(names)), left=96, right=52, top=34, bottom=28)
        for place, (start, end) in enumerate(zip(before, after, strict=True)):
            if np.isfinite(start) and np.isfinite(end):
                colour = COLOUR["gain" if end >= start else "loss"]
                axes.plot([start, end], [place, place], color=colour, linewidth=2.5, alpha=0.55, zorder=2)
                axes.text(
                    1.015, place, f"{end - start:+.1f}".replace("-", MINUS), va="center", color=colour,
                    fontsize=11, transform=axes.get_yaxis_transform(),
                )  # fmt: skip
            if np.isfinite(end):
                axes.plot([end], [place], "o", markersize=8, color=COLOUR["night"], markeredgewidth=0, zorder=4)
            if np.isfinite(start):
                axes.plot(
                    [start], [place], "o", markersize=6.5, color=COLOUR["card"],
                    markeredgecolor=COLOUR["muted"], markeredgewidth=1.7, zorder=3,
                )  # fmt: skip
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params("y", labelcolor=COLOUR["ink"], labelsize=11.5)
        axes.set_xlim(-1.5, 101.5)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")
        axes.spines["bottom"].set_visible(False)
        figure_legend(
            figure, [(labels[0], COLOUR["muted"], "ring"), (labels[1], COLOUR["night"], "o")], left=96, top=12
        )
        return svg_element(figure, "classes", f"IoU of each class, {labels[0]} and {labels[1]}")


def learning_curve(stage: str, name: str, lines: Sequence[SeedCurve]) -> str:
    """A quantity over the steps of a stage, a colour for each seed. Faint: its records; strong: their running mean."""
    key = re.sub(r"\W+", "-", f"{stage}-{name}")
    with styled(key):
        figure, axes = canvas(264, 150, left=44, right=14, top=28, bottom=26)
        for line in lines:
            colour = SERIES[line.seed % SERIES_COUNT]
            steps, values = thinned(line.steps, line.values)
            smooth = running_mean(values)
            if smooth is None:
                axes.plot(steps, values, color=colour, linewidth=1.8, marker="o" if len(steps) == 1 else None)
            else:
                axes.plot(steps, values, color=colour, linewidth=1.0, alpha=0.28)
                axes.plot(steps, smooth, color=colour, linewidth=1.8)
        _step_axis(axes)
        figure.text(10 / 264, 1 - 15 / 150, name.replace("_", " "), color=COLOUR["ink"], fontsize=11.5, va="center")
        return svg_element(figure, key, f"{name} over the steps of {stage}")


def overlap_histogram(overlaps: Sequence[Overlap], tau: float | None) -> str:
    """A histogram of label overlap ratios, stacked by the distance of the cameras where it is known. Line: tau."""
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    groups = distance_groups(overlaps)
    with styled("overlap"):
        figure, axes = canvas(1080, 290, left=44, right=18, top=40, bottom=46)
        bottom = np.zeros(_BINS)
        for colour, (_, members) in zip(_shades(groups), groups, strict=True):
            counts, _ = np.histogram([overlap.lor for overlap in members], bins=edges)
            axes.bar(
                edges[:-1] + 0.5 / _BINS, counts, width=0.86 / _BINS, bottom=bottom, color=colour,
                edgecolor=COLOUR["card"], linewidth=0.8, zorder=2,
            )  # fmt: skip
            bottom += counts
        if tau is not None:
            axes.axvline(tau, color=COLOUR["day"], linewidth=2, zorder=3)
            axes.annotate(
                f"τ = {tau:g}", (tau, 1), (6, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", color=COLOUR["day"], fontsize=12, fontweight="bold", va="top",
            )  # fmt: skip
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(0, max(1.0, bottom.max() * 1.12))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("label overlap ratio of a night image and its day reference", fontsize=11.5, labelpad=8)
        if len(groups) > 1 or groups[0][0] != "night images":
            names = [name for name, _ in groups]
            entries = [(name, colour, "s") for name, colour in zip(names, _shades(groups), strict=True)]
            figure_legend(figure, entries, left=44, top=14)
        return svg_element(figure, "overlap", "Histogram of the label overlap ratio")


def distance_groups(overlaps: Sequence[Overlap]) -> list[tuple[str, list[Overlap]]]:
    """(name, overlaps) by the true distance of the cameras, nearest first; one group where no distance is known."""
    known = [overlap for overlap in overlaps if overlap.metres is not None]
    if not known:
        return [("night images", list(overlaps))]
    groups = []
    lower = 0.0
    for upper, name in NEARNESS:
        groups.append((name, [overlap for overlap in known if lower <= overlap.metres < upper]))
        lower = upper
    unknown = [overlap for overlap in overlaps if overlap.metres is None]
    return groups + ([("distance unknown", unknown)] if unknown else [])


def thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most _POINTS points: the means of groups of neighbours."""
    if len(steps) <= _POINTS:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), _POINTS)
    return np.array([steps[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def running_mean(values: np.ndarray) -> np.ndarray | None:
    """The mean over a tenth of the curve around each point, over less at its ends; None for few points."""
    count = len(values)
    if count < _SMOOTHED:
        return None
    # the window shrinks towards both ends and stays centred; otherwise the ends of a slope would bend
    places = np.arange(count)
    half = np.minimum(max(1, count // 20), np.minimum(places, count - 1 - places))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[places + half + 1] - sums[places - half]) / (2 * half + 1)


def _shades(groups: Sequence[tuple[str, object]]) -> list[str]:
    near = [COLOUR[f"near-{index}"] for index in range(len(NEARNESS))]
    return [COLOUR["night"]] if len(groups) == 1 else [*near, COLOUR["muted"]][: len(groups)]


def _step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.margins(x=0.02, y=0.12)
    axes.tick_params(labelsize=10)
