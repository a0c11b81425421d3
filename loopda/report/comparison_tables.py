"""The tables of a comparison: one for people (Markdown, as in the README) and one for programs (CSV)."""

from collections.abc import Sequence

import pandas as pd

from loopda.report.comparison import ComparedModel, Comparison, protocol_lines
from loopda.report.published import PublishedScore
from loopda.report.summary import Cell, Difference, by_statistics, choice_note, far_lines, set_title, shown
from loopda.report.text_table import markdown_table
from loopda.report.words import NONE, seed_list
from loopda.runtime.log import duration

TITLES = {
    "run": "The experiments of this run",
    "compare": "Every method side by side",
    "parts": "Methods without one of their parts",
    "networks": "Methods on other networks",
    "ablation": "LoopDA without one of its parts",
    "tau": "The threshold of the label overlap ratio",
}
BY_STATISTICS = "Mean IoU by the statistics of"
APART = (
    "Numbers of the papers, on other data, with other networks and pretrained weights, at other sizes: compare the"
    " order of the methods with ours, not the numbers. A dash: the source does not say."
)


def frame(comparison: Comparison) -> pd.DataFrame:
    """One line per row and set of images; scores in percent, seconds, MB; empty where there is no number."""
    return pd.DataFrame(
        {
            "method": model.title,
            "experiment": model.listed.experiment,
            "model_stage": model.listed.stage,
            "images": domain,
            "seeds": len(score.seeds),
            **_columns("mIoU", score.mIoU),
            **_difference("gain", score.gain),
            "differences_from": comparison.subtracted.title if comparison.subtracted else "",
            **_difference("difference", model.differences.get(domain)),
            **_columns("fwIoU", score.fwIoU),
            **_columns("pixel_accuracy", score.pixel_accuracy),
            **_statistics(model, domain),
            **_columns("images_per_second", model.cost.speed),
            **_columns("training_seconds", model.cost.seconds),
            **_columns("peak_memory_mb", model.cost.memory),
            "memory_of": "" if model.cost.memory is None else "GPU" if model.cost.on_gpu else "process",
            "steps": model.listed.steps,
            "own_settings": model.own_settings,
            **{
                column: value
                for name, cell in model.classes[domain].items()
                for column, value in _columns(name, cell).items()
            },
        }
        for model in comparison.rows
        for domain in comparison.domains
        if (score := model.scores.get(domain)) is not None
    )


def markdown(comparison: Comparison) -> str:
    """The scores, IoU per class for each set of images, and the published numbers, ready for a README."""
    scores = _scores(comparison)
    text = [f"## {TITLES[comparison.name]}", "", *markdown_table(scores, left=(0, len(scores[0]) - 1)), ""]
    text += [settings_note(comparison), *notes(comparison)]
    if differences := _differences(comparison):
        text += ["", f"### {differences_title(comparison)}", "", *markdown_table(differences, left=(0,))]
    if comparison.by_statistics:
        text += ["", f"### {BY_STATISTICS}", "", *markdown_table(_by_statistics(comparison), left=(0, 1, 2, 4))]
    for heading, table in _class_tables(comparison):
        text += ["", f"### {heading}", "", *markdown_table(table, left=(0,))]
    if comparison.published:
        table = _published(comparison.published)
        text += ["", "### Published", "", APART, "", *markdown_table(table, left=(0, 1, 2, 3, 7))]
    return "\n".join(text) + "\n"


def costs(model: ComparedModel) -> dict[str, str]:
    """Steps, images per second, training time and memory of a row, as text."""
    cost = model.cost
    return {
        "steps": f"{model.listed.steps:,}",
        "speed": NONE if cost.speed is None else f"{cost.speed.mean:.0f}",
        "seconds": NONE if cost.seconds is None else duration(cost.seconds.mean),
        "memory": NONE if cost.memory is None else f"{cost.memory.mean:,.0f}" + (" (GPU)" if cost.on_gpu else ""),
    }


def settings_note(comparison: Comparison) -> str:
    """The settings that the methods share, as far as their rows do not say otherwise."""
    optimizer, size = comparison.common["optimizer"], comparison.common["batch_size"]
    note = (
        f"Methods share: {comparison.common['steps']:,} steps of {size} day and {size} night images after the"
        f" source-only model, {optimizer['name']} with a learning rate of {optimizer['lr']:g}, the same images, crops"
        " and network, the last checkpoint. A row's own settings are paths of config.yaml."
    )
    if len(comparison.baselines) > 1:
        note += " They are those that differ from the first row's, without those that its source-only model lists."
    return note


def notes(comparison: Comparison) -> list[str]:
    """How to read the numbers, and how each set of images was evaluated."""
    several = len(comparison.seeds) > 1
    spread = f"; mean ± sample standard deviation over {seed_list(comparison.seeds)}" if several else ""
    paired = ", paired by seed" if several else ""
    intervals = (
        "In brackets: the 95 % confidence interval of a difference, by Student's t over its pairs of seeds. It says"
        " what other random numbers in training would change, on the same images, not what other images would."
        if several
        else "Of one seed there is no interval: what its differences are worth, this table cannot say."
    )
    source_only = "source-only" if len(comparison.baselines) == 1 else "the row's own source-only model"
    return [
        f"Scores in percent{spread}. Gain: mIoU less that of {source_only}{paired}.",
        intervals,
        "Steps, training time and memory: of all trainings that a row needs after the source-only model; of models that"
        " are trained on labels alone, their own. Images per second: of the last of these trainings. Memory: in MB, the"
        " peak of the largest of them, of the process unless it says GPU.",
        *protocol_lines(comparison),
        *filter(None, [choice_note(comparison.domains)]),
        *far_lines(comparison.by_statistics),
    ]


def group_titles(groups: Sequence[Sequence[ComparedModel]], domain: str) -> list[str]:
    """The name of a set of images; with the experiments behind it where rows were measured on several of that name."""
    if len(groups) == 1:
        return [set_title(domain)]
    experiments = [dict.fromkeys(model.listed.experiment for model in group) for group in groups]
    return [f"{set_title(domain)} ({', '.join(names)})" for names in experiments]


def _scores(comparison: Comparison) -> list[list[str]]:
    heads, lines = ["method"], []
    for domain in comparison.domains:
        heads += [f"{set_title(domain)} mIoU", "gain"] + (
            ["fwIoU", "accuracy"] if domain == comparison.domains[0] else []
        )
    for model in comparison.rows:
        cells = [model.title]
        for domain in comparison.domains:
            score = model.scores.get(domain)
            cells += [shown(score and score.mIoU), shown(score and score.gain, signed=True)]
            if domain == comparison.domains[0]:
                cells += [shown(score and score.fwIoU), shown(score and score.pixel_accuracy)]
        lines.append([*cells, *costs(model).values(), model.own_settings])
    return [[*heads, "steps", "images/s", "training", "memory, MB", "own settings"], *lines]


def differences_title(comparison: Comparison) -> str:
    """The heading of the differences between the rows; "" where no row is subtracted."""
    return f"mIoU less that of {comparison.subtracted.title}" if comparison.subtracted else ""


def _differences(comparison: Comparison) -> list[list[str]]:
    """The mIoU of each row less that of the row that is subtracted, on each set of images; [] where there is none."""
    if not comparison.subtracted:
        return []
    return [
        ["method", *map(set_title, comparison.domains)],
        *(
            [model.title, *(shown(model.differences.get(domain), signed=True) for domain in comparison.domains)]
            for model in comparison.rows
            if model is not comparison.subtracted
        ),
    ]


def _class_tables(comparison: Comparison) -> list[tuple[str, list[list[str]]]]:
    """A heading and a table of IoU per class for each set of images, and each list of classes and protocol."""
    tables = []
    for domain in comparison.domains:
        groups = comparison.measured_alike(domain)
        for title, group in zip(group_titles(groups, domain), groups, strict=True):
            lines = [["method", *group[0].classes[domain], "mean"]]
            for model in group:
                cells = [*model.classes[domain].values(), model.mIoU(domain)]
                lines.append([model.title, *(NONE if cell is None else f"{cell.mean:.1f}" for cell in cells)])
            tables.append((f"IoU per class, {title}", lines))
    return tables


def _published(scores: Sequence[PublishedScore]) -> list[list[str]]:
    heads = ["method", "network", "trained on", "measured on", "mIoU", "fwIoU", "accuracy", "source"]
    lines = []
    for score in scores:
        numbers = [NONE if value is None else f"{value:.1f}" for value in (score.mIoU, score.fwIoU, score.accuracy)]
        lines.append([score.method, score.network or NONE, score.training, score.test, *numbers, score.source])
    return [heads, *lines]


def _by_statistics(comparison: Comparison) -> list[list[str]]:
    """A line for each set of images and row."""
    heads = ["images", "method", "statistics", "mIoU", "other statistics", "mIoU", "distance"]
    return [
        heads,
        *(
            [
                *(row.domain, row.title, row.used, shown(row.mIoU), row.other or NONE, shown(row.other_mIoU)),
                NONE if row.distance is None else f"{row.distance.mean:.2f}",
            ]
            for row in comparison.by_statistics
        ),
    ]


def _statistics(model: ComparedModel, domain: str) -> dict[str, str | float | None]:
    """The columns of a row's statistics, empty where its scores come from an earlier version."""
    row = by_statistics(model.evaluations, domain, model.title)
    return {
        "statistics": row and row.used,
        "other_statistics": row and row.other,
        **_columns("mIoU_other", row and row.other_mIoU),
        **_columns("distance", row and row.distance),
    }


def _columns(name: str, cell: Cell | None) -> dict[str, float | None]:
    return {name: cell and cell.mean, f"{name}_std": cell and cell.std}


def _difference(name: str, cell: Difference | None) -> dict[str, float | int | str | None]:
    low, high = (cell and cell.interval) or (None, None)
    return {
        **_columns(name, cell),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_seeds": cell.seeds if cell else "",
    }
