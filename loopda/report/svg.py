"""How figures are drawn: style, canvas, legend, and the SVG element that stands in the page.

Text stays text and takes the page's font. Colours are the page's CSS variables, so figures follow light and dark. The
same numbers give the same bytes: no date, no random identifiers.
"""

import html
import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that matplotlib draws with, and the variables of page.css that replace them. They only have to differ.
_VARIABLES = {
    "#1c2530": "ink",
    "#66707f": "muted",
    "#dfe3e8": "line",
    "#fefefd": "card",
    "#4052c8": "night",
    "#c77712": "day",
    "#2f7f8c": "gain",
    "#b8433f": "loss",
    "#4152c9": "series-0",
    "#c87813": "series-1",
    "#2a8a77": "series-2",
    "#b04a8b": "series-3",
    "#7a6a1f": "series-4",
    "#55606e": "series-5",
    "#1d2f8f": "near-0",
    "#4f6bd0": "near-1",
    "#8ea6e4": "near-2",
    "#c6d3f2": "near-3",
}
COLOUR = {variable: colour for colour, variable in _VARIABLES.items()}
SERIES = [COLOUR[f"series-{index}"] for index in range(6)]
SERIES_COUNT = len(SERIES)

_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": COLOUR["ink"],
    "axes.labelcolor": COLOUR["muted"],
    "axes.edgecolor": COLOUR["line"],
    "axes.linewidth": 1.0,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": COLOUR["line"],
    "grid.linewidth": 1.0,
    "xtick.color": COLOUR["muted"],
    "ytick.color": COLOUR["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}


def styled(key: str) -> AbstractContextManager[None]:
    """The style of all figures; key: of one figure, so that its identifiers are the same in every run."""
    return matplotlib.rc_context({**_STYLE, "svg.hashsalt": key})


def canvas(width: float, height: float, *, left: float, right: float, top: float, bottom: float) -> tuple[Figure, Axes]:
    """A figure and its axes. Sizes and margins are in CSS pixels, of which matplotlib's inch has 72."""
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))
    return figure, axes


def figure_legend(figure: Figure, entries: Sequence[tuple[str, str, str]], *, left: float, top: float) -> None:
    """A legend in one line at the head of a figure.

    entries: (text, colour, mark), with mark "o", "s" or "ring". left, top: of the first mark, in pixels.
    """
    width, height = figure.get_size_inches() * 72
    layer = figure.add_axes((0, 0, 1, 1), zorder=5)
    layer.set_axis_off()
    layer.set_xlim(0, width)
    layer.set_ylim(height, 0)
    place = left
    for text, colour, mark in entries:
        face = COLOUR["card"] if mark == "ring" else colour
        layer.plot(
            [place + 4], [top], "s" if mark == "s" else "o", markersize=8, color=face, markeredgecolor=colour,
            markeredgewidth=1.7 if mark == "ring" else 0,
        )  # fmt: skip
        layer.text(place + 14, top, text, va="center", fontsize=11.5, color=COLOUR["muted"])
        place += 14 + 6.4 * len(text) + 22


def svg_element(figure: Figure, key: str, title: str) -> str:
    """The figure as one <svg> element; a page may have many of them. title: what a screen reader says."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # a style element would apply to the whole page; page.css has the style of figures
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    # identifiers are unique within a figure; the key makes them unique on a page
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{key}-", text)
    box = re.search(r'viewBox="([^"]+)"', text).group(1)
    label = html.escape(title, quote=True)
    head = f'<svg viewBox="{box}" role="img" aria-label="{label}" style="width:100%">'
    text = head + text[text.index(">") + 1 :]
    text = re.sub(r"xlink:href", "href", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", text).strip()
