"""The section "Translations and pseudo-labels": the pictures that stages drew, and the contact sheet of `pair`."""

from typing import Any

from loopda.report.illustrations import Illustrations
from loopda.report.inputs import find, origin
from loopda.report.page import PageSettings
from loopda.report.pictures import picture
from loopda.report.results import Pairs, Results

ANCHOR, LINK = "illustrations", "Translations and pseudo-labels"

_SHEET_WIDTH = 1400  # pixels; a sheet is captioned, and what is written on it must stay legible


def section(results: Results, settings: PageSettings) -> dict[str, Any] | None:
    """The values of illustrations.html; None without pictures."""
    panels = [panel for one in results.illustrations for panel in filled_panels(one, settings.picture_width)]
    if results.pairs:
        panels.append(pairs_panel(results.pairs, several_seeds=len(results.seeds) > 1))
    seed = results.illustrations[0].seed if results.illustrations else None
    return {"illustrated_seed": seed, "panels": panels} if panels else None


def filled_panels(illustrations: Illustrations, width: int) -> list[dict[str, Any]]:
    """The blocks of pictures of one file, at most `width` pixels wide; "" for a picture that there is not."""
    return [
        {
            "title": panel.title,
            "caption": panel.caption,
            "columns": panel.columns,
            "rows": [
                [picture(find(name, illustrations.read_from), width) if name else "" for name in row]
                for row in panel.rows
            ],
        }
        for panel in illustrations.panels
        if panel.rows
    ]


def pairs_panel(pairs: Pairs, *, several_seeds: bool) -> dict[str, Any]:
    """The contact sheet of `pair` as one block, with how many pairs it has kept."""
    ranking = pairs.ranking
    seed = f"Seed {origin(ranking.read_from).seed}: " if several_seeds else ""
    caption = (
        f"{seed}{ranking.reaching_tau()} of {len(ranking.images)} night images have a day image, among"
        f" {ranking.candidates}, whose label overlap ratio reaches τ = {ranking.tau:g} (pair.overlap:"
        f" {ranking.overlap}). Such a pair is kept: self-training uses the day image as the reference of a night image"
        " that has none, or of any night image with pair.replace. Each row shows a night image, the day image that is"
        " most like it, and the two predictions that were compared; the rows go evenly from the highest ratio to the"
        " lowest. A pair is right where both photographs show the same place."
    )
    columns = ["night image, best day image, night prediction, day prediction"]
    rows = [[picture(pairs.sheet, _SHEET_WIDTH)]]
    return {"title": "Day references by label overlap", "caption": caption, "columns": columns, "rows": rows}
