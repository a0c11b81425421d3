"""The section "Learning curves": what every training recorded."""

from typing import Any

from loopda.pipeline.stages import stage_order, stage_title
from loopda.report.figures import SeedCurve, learning_curve
from loopda.report.inputs import Metrics
from loopda.report.page import PageSettings
from loopda.report.results import Results
from loopda.report.svg import SERIES_COUNT
from loopda.runtime.log import duration

ANCHOR, LINK = "curves", "Learning curves"


def section(results: Results, settings: PageSettings) -> dict[str, Any] | None:
    """The values of curves.html: small plots for every stage; None where nothing was recorded."""
    stages = sorted({run.origin.stage for run in results.metrics}, key=stage_order)
    blocks = []
    for stage in stages:
        runs = sorted((run for run in results.metrics if run.origin.stage == stage), key=lambda run: run.origin.seed)
        if plots := stage_plots(stage, runs):
            caption = "; ".join(run_facts(run, several_seeds=len(runs) > 1) for run in runs)
            blocks.append({"title": stage_title(stage).capitalize(), "plots": plots, "caption": f"{caption}."})
    if not blocks:
        return None
    seeds = sorted({run.origin.seed for run in results.metrics})
    return {"curves": blocks, "curve_seeds": [(seed, f"series-{seed % SERIES_COUNT}") for seed in seeds]}


def stage_plots(stage: str, runs: list[Metrics]) -> list[str]:
    """A plot for each quantity that a run recorded, with a line for each seed."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    return [
        learning_curve(
            stage, name, [SeedCurve(run.origin.seed, *run.curves[name]) for run in runs if name in run.curves]
        )
        for name in names
    ]


def run_facts(run: Metrics, *, several_seeds: bool) -> str:
    """Steps, time and speed of a training, as far as they were recorded."""
    steps = max(int(curve[0][-1]) for curve in run.curves.values()) if run.curves else 0
    facts = [f"{steps:,} steps" + (f" in {duration(run.seconds)}" if run.seconds is not None else "")]
    facts += [f"{run.speed:.1f} images per second (median)"] if run.speed is not None else []
    return (f"Seed {run.origin.seed}: " if several_seeds else "") + ", ".join(facts)
