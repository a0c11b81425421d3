"""The section "IoU per class": for every set of images a table of classes and stages."""

from typing import Any

import numpy as np

from loopda.pipeline.stages import stage_title
from loopda.report.page import PageSettings, css_colour
from loopda.report.results import Results
from loopda.report.summary import BASELINE, Cell
from loopda.report.words import share

ANCHOR, LINK = "classes", "IoU per class"

_STRONGEST = 40.0  # a change of so many points has the full shade


def section(results: Results, settings: PageSettings) -> dict[str, Any]:
    """The values of classes.html."""
    return {"class_tables": [table(results, domain) for domain in results.domains]}


def table(results: Results, domain: str) -> dict[str, Any]:
    """The table of a set of images: a line for each class, a column for each stage, the change against source-only."""
    stages = results.measured_stages(domain)
    last = stages[-1]
    compared = BASELINE in stages and last != BASELINE
    changes = results.class_changes[last][domain] if compared else {}
    models = results.evaluations
    pixels = np.array(next(model.domains[domain].confusion for model in models if domain in model.domains)).sum(1)
    lines = [
        {
            "name": name,
            "colour": css_colour(models[0].colours[index]),
            "share": share(pixels[index], pixels.sum()),
            "cells": [results.class_scores[stage][domain][name] for stage in stages],
            "change": changes.get(name),
            "strength": min(1.0, abs(changes.get(name, 0.0)) / _STRONGEST),
        }
        for index, name in enumerate(models[0].classes)
    ]
    return {
        "domain": domain,
        "stages": [stage_title(stage) for stage in stages],
        "compared": stage_title(last) if compared else "",
        "lines": lines,
        "means": [_mean(results.scores[stage][domain].mIoU) for stage in stages],
        "change": _mean(results.scores[last][domain].gain),
    }


def _mean(cell: Cell | None) -> float | None:
    return None if cell is None else cell.mean
