"""The measurements as bars."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from loopda.runtime.files import written

_COLOURS = {True: "#9aa5b1", False: "#4052c8"}  # the plain reference, and the package


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel of operations for each scale and stage, and beside it one of milliseconds where they were measured."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["scale"], result["stage"]), []).append(result)
    rows = max(len(group) for group in groups.values())
    figure = Figure(figsize=(11, len(groups) * (0.9 + 0.3 * rows)), layout="constrained")
    panels = figure.subplots(len(groups), 2, squeeze=False)
    for (left, right), ((scale, stage), group) in zip(panels, groups.items(), strict=True):
        _bars(left, group, "gflop", f"{stage}, {scale} scale: GFLOP an iteration")
        timed = [result for result in group if "milliseconds" in result]
        if timed:
            _bars(right, timed, "milliseconds", f"milliseconds an iteration on {timed[0]['device']}")
            right.tick_params(labelleft=len(timed) < len(group))  # else they are the left panel's
        else:
            right.set_axis_off()
    with written(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})


def _bars(axes: Any, results: Sequence[dict[str, Any]], key: str, title: str) -> None:
    values = [result[key] for result in results]
    bars = axes.barh(
        [result["variant"] for result in results], values, color=[_COLOURS[result["plain"]] for result in results]
    )
    axes.bar_label(bars, [f"{value:.4g}" for value in values], padding=3)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, 1.15 * max(values))
    axes.invert_yaxis()
