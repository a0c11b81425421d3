"""The page of a comparison, and the words that it shares with the table."""

from collections.abc import Mapping, Sequence
from typing import Any

from loopda.report import page as parts
from loopda.report.comparison import Side, best, best_classes
from loopda.report.figures import bar_chart, tau_chart
from loopda.report.inputs import Evaluation
from loopda.report.published import Published
from loopda.report.summary import NONE, Cell, domains, protocols
from loopda.report.versions import versions
from loopda.report.words import seed_list
from loopda.runtime.log import duration

TITLES = {
    "compare": "Every method side by side",
    "parts": "Methods without one of their parts",
    "networks": "Methods on other networks",
    "ablation": "LoopDA without one of its parts",
    "tau": "The threshold of the label overlap ratio",
}
APART = (
    "Numbers of the papers, on other data, with other networks and pretrained weights, at other sizes: compare the"
    " order of the methods with ours, not the numbers. A dash: the source does not say."
)


def comparison_page(
    comparison: str,
    rows: Sequence[Side],
    evaluations: Sequence[Evaluation],
    papers: Sequence[Published],
    settings: str,
) -> str:
    """The page as HTML. comparison: a key of TITLES. settings: the line about what the rows share (`shared`)."""
    names = domains(evaluations)
    return parts.render(
        "compare.html",
        {
            "stage": "compare",
            "title": TITLES[comparison],
            "statement": statement(rows, evaluations),
            "tiles": tiles(rows, names[0], "Best method" if comparison == "compare" else "Best row"),
            "contents": [
                ("Results", "results"),
                ("IoU per class", "classes"),
                ("Published numbers", "published"),
                ("Notes", "notes"),
            ],
            "seeds": len({one.seed for one in evaluations}),
            "domains": names,
            "bars": _bars(rows, names[0]),
            "sweep": _sweep(rows, names[0]) if comparison == "tau" else "",
            "rows": [(side, [side.scores.get(name) for name in names], costs(side)) for side in rows],
            "best": best(rows, names[0]),
            "classes": parts.legend(evaluations[0]),
            "maps": [
                (name, [side for side in rows if name in side.scores], best_classes(rows, name)) for name in names
            ],
            "published": papers,
            "published_more": any(one.fwIoU is not None for one in papers),
            "published_sweep": _published_sweep(papers) if comparison == "tau" else "",
            "apart": APART,
            "notes": [settings, *notes(evaluations)],
            "versions": versions(),
        },
    )


def statement(rows: Sequence[Side], evaluations: Sequence[Evaluation]) -> str:
    """What stands on the page, in plain words."""
    name = domains(evaluations)[0]
    protocol = next(one.domains[name].protocol for one in evaluations if name in one.domains)
    return (
        f"{len(rows)} models under one evaluator ({seed_list(one.seed for one in evaluations)}), on"
        f" {protocol.images} {name} images of {protocol.width}x{protocol.height} pixels that none of them was trained"
        " on. Methods go on from the same source-only model, on the same labelled day and the same night images; LoopDA"
        " alone sees the night's day references too. What else one does otherwise stands in its row."
    )


def tiles(rows: Sequence[Side], domain: str, top: str) -> list[dict[str, str]]:
    """The ends of the scale, and the best row between them under the name `top`."""
    oracles = [side for side in rows[1:] if any(path.startswith("data.source") for path in side.listed.own)]
    chosen = [("Source-only", rows[0]), (top, best(rows, domain)), *(("Oracle", side) for side in oracles)]
    result = []
    for name, side in chosen:
        score = side.scores.get(domain) if side else None
        if score and score.mIoU:
            note = "trained on labelled day images alone"
            if score.gain:
                what = "trained on night labels" if name == "Oracle" else side.title
                note = f"{what}; {score.gain.text(signed=True)} against source-only"
            result.append(parts.tile(f"{name}, {domain} mIoU, %", score.mIoU.text(), note))
    return result


def costs(side: Side) -> dict[str, str]:
    """Steps, images per second, training time and memory of a row, as text."""
    cost = side.cost
    return {
        "steps": f"{side.listed.steps:,}",
        "speed": NONE if cost.speed is None else f"{cost.speed.mean:.0f}",
        "seconds": NONE if cost.seconds is None else duration(cost.seconds.mean),
        "memory": NONE if cost.memory is None else f"{cost.memory.mean:,.0f}" + (" (GPU)" if cost.on_gpu else ""),
    }


def shared(common: Mapping[str, Any]) -> str:
    """The settings that the methods share, as far as their rows do not say otherwise."""
    optimizer, size = common["optimizer"], common["batch_size"]
    return (
        f"Methods share: {common['steps']:,} steps of {size} day and {size} night images after the source-only model,"
        f" {optimizer['name']} with a learning rate of {optimizer['lr']:g}, the same images, crops and network, the"
        " last checkpoint. A row's own settings are paths of config.yaml."
    )


def notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """How to read the numbers, and how each set of images was evaluated."""
    several = len({one.seed for one in evaluations}) > 1
    spread = "; mean ± sample standard deviation over seeds" if several else ""
    paired = ", paired by seed" if several else ""
    return [
        f"Scores in percent{spread}. Gain: mIoU less that of source-only{paired}.",
        "Steps, training time and memory: of all trainings that a row needs after the source-only model; of models that"
        " are trained on labels alone, their own. Images per second: of the last of these trainings. Memory: in MB, the"
        " peak of the largest of them, of the process unless it says GPU.",
        *(
            f"{name.capitalize()} validation: {' | '.join(protocols(evaluations, name))}."
            for name in domains(evaluations)
        ),
    ]


def _bars(rows: Sequence[Side], domain: str) -> str:
    cells = [side.scores[domain].mIoU if domain in side.scores else None for side in rows]
    title = f"Mean IoU of every row at {domain}"
    return bar_chart("bars", [side.title for side in rows], cells, [side.kind for side in rows], title)


def _sweep(rows: Sequence[Side], domain: str) -> str:
    scored = [(side.listed.tau, side.scores[domain].mIoU) for side in rows if domain in side.scores]
    points = sorted((point for point in scored if None not in point), key=lambda point: point[0])
    return tau_chart(points, f"{domain} mIoU, %: ours") if points else ""


def _published_sweep(papers: Sequence[Published]) -> str:
    points = [(float(one.method.removeprefix("τ = ")), Cell(one.mIoU, None, 1)) for one in papers]
    return tau_chart(points, f"{papers[0].test}, mIoU, %: {papers[0].source}", "day")
