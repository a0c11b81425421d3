"""The section "Notes": what to know before quoting a number, and what is not on the page."""

from typing import Any

from loopda.report.data_notes import shortened
from loopda.report.page import PageSettings
from loopda.report.results import Results
from loopda.report.summary import set_title

ANCHOR, LINK = "notes", "Notes"


def section(results: Results, settings: PageSettings) -> dict[str, Any] | None:
    """The values of notes.html; None where there is nothing to say."""
    drawn = [note for one in results.illustrations for note in one.notes]
    values = {
        "notes": list(dict.fromkeys([*protocol_notes(results), *drawn])),
        "data_notes": shortened(results.data) if results.data else [],
        "missing": [*results.unmeasured, *results.missing],
    }
    return values if any(values.values()) else None


def protocol_notes(results: Results) -> list[str]:
    """A warning for each set of images on which the models were not all evaluated alike."""
    return [
        f"The models were evaluated on the {set_title(domain)} images under {len(lines)} protocols: compare with care."
        for domain, lines in results.protocols.items()
        if len(lines) > 1
    ]
