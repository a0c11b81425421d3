"""The section "Results": scores of every stage, how they were measured, and two figures of them."""

from typing import Any

import numpy as np

from loopda.pipeline.stages import stage_title
from loopda.report.figures import class_chart, class_chart_height, stage_chart
from loopda.report.page import PageSettings
from loopda.report.results import Results
from loopda.report.summary import BASELINE, beside, choice_note, far_lines, set_title

ANCHOR, LINK = "results", "Results"


def section(results: Results, settings: PageSettings) -> dict[str, Any]:
    """The values of headline.html."""
    return {
        "domains": results.domains,
        "beside": beside(results.domains),
        "choice": choice_note(results.domains),
        "headline": [
            {
                "title": stage_title(stage),
                "rows": [by_domain.get(domain) for domain in results.domains],
                "seeds": max((len(row.seeds) for row in by_domain.values()), default=0),
            }
            for stage, by_domain in results.scores.items()
        ],
        "protocols": protocol_lines(results),
        "far": far_lines(results.by_statistics),
        "by_statistics": results.by_statistics,
        **charts(results),
    }


def protocol_lines(results: Results) -> list[tuple[str, str]]:
    """Set of images -> how it was evaluated; where the models' protocols differ, each with its models."""
    lines = []
    for domain in results.domains:
        models_by_text: dict[str, list[str]] = {}
        for model in results.evaluations:
            if domain not in model.domains:
                continue
            scores = model.domains[domain]
            protocol = scores.protocol
            upsampled = f"upsampled: {protocol.upsampling}" if protocol.upsampling else ""
            absent = f"absent from the truth: {', '.join(protocol.absent)}" if protocol.absent else ""
            text = "; ".join(part for part in (scores.line(), upsampled, absent) if part)
            models_by_text.setdefault(text, []).append(f"{stage_title(model.model_stage)}, seed {model.seed}")
        texts = [f"{text} ({'; '.join(models)})" for text, models in models_by_text.items()]
        lines.append((set_title(domain), " · ".join(models_by_text if len(models_by_text) == 1 else texts)))
    return lines


def charts(results: Results) -> dict[str, str]:
    """The two figures as SVG; empty where no set was measured."""
    figures = {"class_chart": "", "class_chart_caption": "", "stage_chart": ""}
    if not results.domains:
        return figures
    first = results.domains[0]
    last = results.measured_stages(first)[-1]
    compared = BASELINE in results.measured_stages(first) and last != BASELINE
    classes = results.evaluations[0].classes
    if compared:
        scores = [results.class_scores[stage][first].values() for stage in (BASELINE, last)]
        before, after = [[np.nan if value is None else value for value in values] for values in scores]
        figures["class_chart"] = class_chart(classes, before, after, ("source-only", stage_title(last)))
        figures["class_chart_caption"] = (
            f"IoU of each class, {set_title(first)}: source-only (ring), {stage_title(last)} (dot), the change at the"
            " right."
        )
    lines = {
        domain: [scores[domain].mIoU if domain in scores else None for scores in results.scores.values()]
        for domain in results.domains
        if domain not in beside(results.domains)
    }
    height = max(330, class_chart_height(len(classes)) if compared else 0)
    figures["stage_chart"] = stage_chart([stage_title(stage) for stage in results.scores], lines, min(height, 480))
    return figures
