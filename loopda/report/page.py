"""What the pages are made of: the settings of the report, templates, tiles at the head, the legend of classes."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
from jinja2.utils import markupsafe
from pydantic import Field

from loopda.config import Section
from loopda.report.inputs import Evaluation
from loopda.report.summary import hue, set_title
from loopda.report.words import decimal


class PageSettings(Section):
    """The section `report`."""

    title: str = ""
    gallery_images: int = Field(default=6, ge=0)
    gallery_day_images: int = Field(default=2, ge=0)
    picture_width: int = Field(default=512, ge=16)


def render(template: str, parts: Mapping[str, Any]) -> markupsafe.Markup:
    """A `template` of this folder, filled, as HTML that other templates take as it is.

    Every other text is escaped. A name that the template has and `parts` lacks raises an error of jinja2.
    """
    folder = files("loopda.report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loopda", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(decimal=decimal, set_title=set_title, hue=hue)
    css = markupsafe.Markup((folder / "page.css").read_text(encoding="utf-8"))
    return markupsafe.Markup(environment.get_template(template).render(css=css, **parts))


def legend(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Class name and colour, in the order of the classes."""
    return [(name, css_colour(colour)) for name, colour in zip(evaluation.classes, evaluation.colours, strict=True)]


def tile(name: str, value: str, note: str) -> dict[str, str]:
    """A number at the head of a page; a deviation behind ` ± ` stands smaller."""
    number, _, deviation = value.partition(" ± ")
    return {"name": name, "value": number, "spread": deviation, "note": note}


def css_colour(colour: Sequence[int]) -> str:
    """`#804080` of (128, 64, 128)."""
    return "#" + "".join(f"{part:02x}" for part in colour)
