"""The page of an experiment: its head, and its sections."""

from loopda.pipeline.stages import stage_title
from loopda.report.page import PageSettings, legend, render, tile
from loopda.report.results import Results
from loopda.report.sections import classes, curves, gallery, headline, illustrations, notes, provenance, pseudo_labels
from loopda.report.summary import BASELINE, beside, set_title
from loopda.report.versions import versions
from loopda.report.words import decimal, listed, seed_list, short_count

SECTIONS = (headline, gallery, classes, illustrations, pseudo_labels, curves, provenance, notes)
"""The sections in their order on the page."""


def report_page(results: Results, title: str, settings: PageSettings) -> str:
    """The page as HTML; sections with nothing to show are left out."""
    shared = {"seeds": results.seeds, "classes": legend(results.evaluations[0]), "versions": versions()}
    sections, contents = [], []
    for module in SECTIONS:
        values = module.section(results, settings)
        if values is not None:
            name = module.__name__.rpartition(".")[2]
            sections.append(render(f"sections/{name}.html", shared | values))
            contents.append((module.LINK, module.ANCHOR))
    return render(
        "page.html",
        {
            "stage": "report",
            "title": title,
            "statement": statement(results),
            "tiles": tiles(results),
            "contents": contents,
            "sections": sections,
            "versions": shared["versions"],
        },
    )


def statement(results: Results) -> str:
    """What was run, in plain words."""
    experiments = listed([f"“{name}”" for name in dict.fromkeys(model.experiment for model in results.evaluations)])
    several = "s" if " and " in experiments else ""
    sets = [
        f"{protocol.images} {set_title(domain)} images of {protocol.width}x{protocol.height} pixels"
        for domain in results.picture_sets
        for protocol in [
            next(model.domains[domain].protocol for model in results.evaluations if domain in model.domains)
        ]
    ]
    return (
        "A segmentation network learns from labelled day images and is then adapted to night with unlabelled"
        f" night images alone. This page scores it at every stage: {listed([stage_title(s) for s in results.stages])},"
        f" in experiment{several} {experiments} ({seed_list(results.seeds)})"
        + (
            f", on {listed(sets)} with true labels that no stage trained on."
            if sets
            else ", but there are no labels to score it with."
        )
    )


def tiles(results: Results) -> list[dict[str, str]]:
    """The last model's scores, how many classes got better than source-only, the size of the network."""
    last, title = results.last_stage, stage_title(results.last_stage)
    found = []
    for domain, score in results.scores[last].items():
        if score.mIoU is None or domain in beside(results.domains):
            continue
        note = f"after {title}"
        if score.gain is not None:
            before = results.scores[BASELINE][domain].mIoU
            note += f"; {score.gain.text(signed=True)} against source-only at {decimal(before.mean)}"
        found.append(tile(f"{set_title(domain).capitalize()} mIoU, %", score.mIoU.text(), note))
    if last != BASELINE and results.domains:
        first = results.domains[0]
        changes = results.class_changes[last][first].values()
        better = f"{sum(change > 0 for change in changes)} of {len(changes)}"
        found += (
            [tile(f"Classes better, {set_title(first)}", better, f"{title} against source-only")] if changes else []
        )
    sizes = {model.parameters for model in results.stages[last]}
    if len(sizes) == 1:
        found.append(tile("Parameters", short_count(sizes.pop()), f"of the network after {title}"))
    return found
