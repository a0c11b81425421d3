"""The section "Behind the numbers": the models, the configuration and the software."""

from collections.abc import Sequence
from typing import Any

from loopda.pipeline.stages import stage_order, stage_title
from loopda.report.inputs import Configuration
from loopda.report.page import PageSettings
from loopda.report.results import Results
from loopda.report.words import seed_list

ANCHOR, LINK = "provenance", "Behind the numbers"


def section(results: Results, settings: PageSettings) -> dict[str, Any]:
    """The values of provenance.html, beside the versions that the page has anyway."""
    models = [
        {
            "title": stage_title(model.model_stage),
            "seed": model.seed,
            "experiment": model.experiment,
            "parameters": f"{model.parameters:,}",
            "sha256": model.sha256[:12] or "–",
            "file": model.model,
        }
        for models in results.stages.values()
        for model in models
    ]
    return {"models": models, "sections": configuration_lines(results.configurations)}


def configuration_lines(configurations: Sequence[Configuration]) -> list[dict[str, str]]:
    """The resolved configurations; those of seeds that do not differ once."""
    seeds: dict[tuple[str, str, str], list[int | None]] = {}
    for one in configurations:
        seeds.setdefault((one.origin.stage, one.origin.experiment, one.text), []).append(one.origin.seed)
    ordered = sorted(seeds, key=lambda key: (stage_order(key[0]), key[1], seed_list(seeds[key])))
    return [
        {
            "title": stage,
            "note": ", ".join(filter(None, [experiment, seed_list(seeds[stage, experiment, text])])),
            "text": text.strip(),
        }
        for stage, experiment, text in ordered
    ]
