"""The page of an experiment, from its results."""

from loopda.report.head import statement, tiles
from loopda.report.page import legend, render
from loopda.report.results import Results
from loopda.report.sections import classes, curves, gallery, headline, illustrations, notes, provenance, pseudo_labels
from loopda.report.settings import PageSettings
from loopda.report.versions import versions

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
