"""The page of a comparison."""

from collections.abc import Sequence

from loopda.report import page as parts
from loopda.report.comparison import ComparedModel, Comparison, best, best_classes
from loopda.report.comparison_tables import APART, TITLES, costs, differences_title, group_titles, notes, settings_note
from loopda.report.figures import bar_chart, tau_chart
from loopda.report.published import PublishedScore
from loopda.report.summary import Cell, beside, set_title
from loopda.report.versions import versions
from loopda.report.words import seed_list


def comparison_page(comparison: Comparison) -> str:
    """The page as HTML."""
    first = comparison.domains[0] if comparison.domains else ""
    groups = comparison.measured_alike(first)
    contents = [("Results", "results"), ("IoU per class", "classes"), ("Notes", "notes")]
    if comparison.published:
        contents.insert(2, ("Published numbers", "published"))
    return parts.render(
        "compare.html",
        {
            "stage": "compare",
            "title": TITLES[comparison.name],
            "statement": statement(comparison),
            "tiles": tiles(comparison, groups, first),
            "contents": contents,
            "seeds": len(comparison.seeds),
            "domains": comparison.domains,
            "beside": beside(comparison.domains),
            "bars": bars(groups, first),
            "sweep": sweep(comparison, first) if comparison.name == "tau" else "",
            "rows": [
                (model, [model.scores.get(domain) for domain in comparison.domains], costs(model))
                for model in comparison.rows
            ],
            "differences_title": differences_title(comparison),
            "by_statistics": comparison.by_statistics,
            "best": [best(group, first) for group in groups],
            "maps": class_maps(comparison),
            "published": comparison.published,
            "published_more": any(score.fwIoU is not None for score in comparison.published),
            "published_sweep": published_sweep(comparison.published) if comparison.name == "tau" else "",
            "apart": APART,
            "notes": [settings_note(comparison), *notes(comparison)],
            "versions": versions(),
        },
    )


def statement(comparison: Comparison) -> str:
    """What stands on the page, in plain words."""
    models = f"{len(comparison.rows)} models under one evaluator ({seed_list(comparison.seeds)})"
    if not comparison.domains:
        return f"{models}: the data have no labelled images to score them by. The rows say what each model cost."
    domain = comparison.domains[0]
    groups = comparison.measured_alike(domain)
    if len(comparison.baselines) > 1 or len(groups) > 1:
        return (
            f"{models}. There are {len(comparison.baselines)} source-only models; the gain of a row counts from the one"
            " that its experiment started with. The notes say on which images each experiment was measured: compare"
            " only rows that were measured on the same images."
        )
    [group] = groups
    protocol = next(one.domains[domain].protocol for one in group[0].evaluations if domain in one.domains)
    return (
        f"{models}, on {protocol.images} {set_title(domain)} images of {protocol.width}x{protocol.height} pixels that"
        " none of them was trained on. Methods go on from the same source-only model, on the same labelled day and the"
        " same night images; LoopDA alone sees the night's day references too. What else one does otherwise stands in"
        " its row."
    )


def tiles(comparison: Comparison, groups: Sequence[Sequence[ComparedModel]], domain: str) -> list[dict[str, str]]:
    """The ends of the scale, and the best row between them; none where rows were measured on several sets of images."""
    if len(groups) != 1:
        return []
    trained_otherwise = [model for model in comparison.rows if not model.listed.is_source_only]
    oracles = [row for row in trained_otherwise if any(path.startswith("data.source") for path in row.listed.own)]
    chosen = [
        *([("Source-only", comparison.rows[0])] if len(comparison.baselines) == 1 else []),
        ("Best method" if comparison.name == "compare" else "Best row", best(comparison.rows, domain)),
        *(("Oracle", model) for model in oracles),
    ]
    result = []
    for name, model in chosen:
        score = model.scores.get(domain) if model else None
        if score and score.mIoU:
            note = "trained on labelled day images alone"
            if score.gain:
                what = "trained on night labels" if name == "Oracle" else model.title
                note = f"{what}; {score.gain.text(signed=True)} against source-only"
            result.append(parts.tile(f"{name}, {set_title(domain)} mIoU, %", score.mIoU.text(), note))
    return result


def bars(groups: Sequence[Sequence[ComparedModel]], domain: str) -> list[tuple[str, str]]:
    """A title and a figure of mean IoU for the rows that were measured alike; no title where all were."""
    figures = []
    for number, (title, group) in enumerate(zip(group_titles(groups, domain), groups, strict=True), start=1):
        cells = [model.mIoU(domain) for model in group]
        names, kinds = [model.title for model in group], [model.kind for model in group]
        key = "bars" if len(groups) == 1 else f"bars-{number}"
        figure = bar_chart(key, names, cells, kinds, f"Mean IoU of every row, {title}")
        figures.append((title if len(groups) > 1 else "", figure))
    return figures


def class_maps(comparison: Comparison) -> list[dict[str, object]]:
    """For each set of images, and those rows that were measured alike on it: the IoU of every class, and the best."""
    maps = []
    for domain in comparison.domains:
        groups = comparison.measured_alike(domain)
        for title, group in zip(group_titles(groups, domain), groups, strict=True):
            maps.append(
                {
                    "domain": domain,
                    "title": title,
                    "classes": parts.legend(group[0].evaluations[0]),
                    "rows": group,
                    "best": best_classes(group, domain),
                }
            )
    return maps


def sweep(comparison: Comparison, domain: str) -> str:
    """The figure of mean IoU over tau, of the rows that have one."""
    scored = [(model.listed.tau, model.mIoU(domain)) for model in comparison.rows]
    points = sorted((point for point in scored if None not in point), key=lambda point: point[0])
    return tau_chart(points, f"{set_title(domain)} mIoU, %: ours") if points else ""


def published_sweep(scores: Sequence[PublishedScore]) -> str:
    """The same figure of the paper's Table 4."""
    points = [(float(score.method.removeprefix("τ = ")), Cell(score.mIoU, None, 1)) for score in scores]
    return tau_chart(points, f"{scores[0].test}, mIoU, %: {scores[0].source}", "day")
