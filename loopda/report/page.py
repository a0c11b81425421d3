"""The parts of the page, each from what was read, and the page from its parts."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.stages import stage_order, stage_title
from loopda.report.figures import (
    SERIES_COUNT,
    Line,
    class_chart,
    class_chart_height,
    distance_groups,
    learning_curve,
    overlap_histogram,
    stage_chart,
)
from loopda.report.inputs import (
    Evaluation,
    Illustrations,
    Metrics,
    Overlap,
    Panel,
    Ranking,
    Threshold,
    find,
    origin,
    read_text,
)
from loopda.report.pictures import encoding_of, label_picture, picture
from loopda.report.summary import BASELINE, MINUS, Row, domains, picture_sets, protocols, row
from loopda.runtime.log import duration

_STRONGEST = 40.0  # a change of so many points has the full shade
_SHEET_WIDTH = 1400  # pixels; a sheet is captioned, and what is written on it must stay legible


def render(template: str, parts: Mapping[str, Any]) -> str:
    """The page of a `template` beside this file, as HTML. Every text is escaped; a part it names and `parts` lacks is a
    bug."""
    folder = files("loopda.report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loopda", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(decimal=decimal, signed=signed)
    css = jinja2.utils.markupsafe.Markup((folder / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, **parts)


def decimal(value: float) -> str:
    """One decimal."""
    return f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign."""
    shown = f"{value:+.1f}"
    return "0.0" if float(shown) == 0 else shown.replace("-", MINUS)


def by_stage(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Model stage -> its models, one per seed, in the order of the pipeline."""
    stages = sorted({model.model_stage for model in evaluations}, key=stage_order)
    return {stage: [one for one in evaluations if one.model_stage == stage] for stage in stages}


def legend(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Class name and colour, in the order of the classes."""
    return [(name, _hexadecimal(colour)) for name, colour in zip(evaluation.classes, evaluation.colours, strict=True)]


def headline(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, Row]]:
    """Model stage -> set of images -> its scores over seeds."""
    stages = by_stage(evaluations)
    base = stages.get(BASELINE, [])
    return {
        stage: {domain: row(models, base, domain) for domain in domains(models)} for stage, models in stages.items()
    }


def statement(evaluations: Sequence[Evaluation]) -> str:
    """What was run, in plain words."""
    stages = [stage_title(stage) for stage in by_stage(evaluations)]
    experiments = listed([f"“{one}”" for one in dict.fromkeys(one.experiment for one in evaluations)])
    several = "s" if " and " in experiments else ""
    sets = [
        f"{protocol.images} {domain} images of {protocol.width}x{protocol.height} pixels"
        for domain in picture_sets(evaluations)
        for protocol in [next(one.domains[domain].protocol for one in evaluations if domain in one.domains)]
    ]
    return (
        "A segmentation network learns from labelled day images and is then adapted to night with unlabelled"
        f" night images alone. This page scores it at every stage: {listed(stages)}, in experiment{several}"
        f" {experiments} ({seed_list(one.seed for one in evaluations)})"
        + (
            f", on {listed(sets)} with true labels that no stage trained on."
            if sets
            else ", but has no labels to score it by."
        )
    )


def tiles(evaluations: Sequence[Evaluation]) -> list[dict[str, str]]:
    """The few numbers at the head: the last model's, and what they are to be compared with."""
    table = headline(evaluations)
    last = list(table)[-1]
    result = []
    for domain, score in table[last].items():
        if score.mIoU is None:
            continue
        note = f"after {stage_title(last)}"
        if score.gain is not None:
            before = table[BASELINE][domain].mIoU
            note += f"; {score.gain.text(signed=True)} against source-only at {decimal(before.mean)}"
        result.append(tile(f"{domain.capitalize()} mIoU, %", score.mIoU.text(), note))
    first = next(iter(domains(evaluations)), "")
    changes = [] if last == BASELINE or not first else list(_class_changes(evaluations, first, last).values())
    if changes:
        better = sum(value > 0 for value in changes)
        result.append(
            tile(
                f"Classes better at {first}",
                f"{better} of {len(changes)}",
                f"{stage_title(last)} against source-only",
            )
        )
    sizes = {one.parameters for one in evaluations if one.model_stage == last}
    if len(sizes) == 1:
        result.append(tile("Parameters", short_count(sizes.pop()), f"of the network after {stage_title(last)}"))
    return result


def class_tables(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """IoU per class for every set of images: classes down, stages across."""
    stages, table, first = by_stage(evaluations), headline(evaluations), evaluations[0]
    blocks = []
    for domain in domains(evaluations):
        shown = [stage for stage in stages if domain in table[stage]]
        columns = {stage: class_means(stages[stage], domain) for stage in shown}
        compared = BASELINE in columns and shown[-1] != BASELINE
        changes = _class_changes(evaluations, domain, shown[-1]) if compared else {}
        pixels = np.array(next(one.domains[domain].confusion for one in evaluations if domain in one.domains)).sum(1)
        lines = [
            {
                "name": name,
                "colour": _hexadecimal(first.colours[index]),
                "share": _share(pixels[index], pixels.sum()),
                "cells": [columns[stage][name] for stage in shown],
                "change": changes.get(name),
                "strength": min(1.0, abs(changes.get(name, 0.0)) / _STRONGEST),
            }
            for index, name in enumerate(first.classes)
        ]
        gain = table[shown[-1]][domain].gain
        blocks.append(
            {
                "domain": domain,
                "stages": [stage_title(stage) for stage in shown],
                "compared": stage_title(shown[-1]) if compared else "",
                "lines": lines,
                "means": [_mean(table[stage][domain].mIoU) for stage in shown],
                "change": _mean(gain),
            }
        )
    return blocks


def class_means(models: Sequence[Evaluation], domain: str) -> dict[str, float | None]:
    """Class -> mean IoU over the seeds in which it has one; None where none has."""
    scored = [one.domains[domain].IoU for one in models if domain in one.domains]
    result = {}
    for name in models[0].classes:
        values = [scores[name] for scores in scored if scores[name] is not None]
        result[name] = spread(values)[0] if values else None
    return result


def charts(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """The two figures of the results; empty where no set was measured."""
    table, stages = headline(evaluations), by_stage(evaluations)
    parts = {"class_chart": "", "class_chart_caption": "", "stage_chart": ""}
    if not domains(evaluations):
        return parts
    first = domains(evaluations)[0]
    reached = [stage for stage in stages if first in table[stage]]
    compared = BASELINE in reached and reached[-1] != BASELINE
    if compared:
        before, after = (class_means(stages[stage], first) for stage in (BASELINE, reached[-1]))
        values = [[np.nan if v is None else v for v in scores.values()] for scores in (before, after)]
        labels = ("source-only", stage_title(reached[-1]))
        parts["class_chart"] = class_chart(list(before), *values, labels)
        parts["class_chart_caption"] = (
            f"IoU of each class at {first}: {labels[0]} (ring), {labels[1]} (dot), the change at the right."
        )
    lines = {
        domain: [scores[domain].mIoU if domain in scores else None for scores in table.values()]
        for domain in domains(evaluations)
    }
    height = max(330, class_chart_height(len(evaluations[0].classes)) if compared else 0)
    parts["stage_chart"] = stage_chart([stage_title(stage) for stage in table], lines, min(height, 480))
    return parts


def curves(metrics: Sequence[Metrics]) -> list[dict[str, Any]]:
    """Small multiples for every stage that recorded anything."""
    blocks = []
    for stage in sorted({one.origin.stage for one in metrics}, key=stage_order):
        runs = sorted((one for one in metrics if one.origin.stage == stage), key=lambda one: one.origin.seed)
        names = dict.fromkeys(name for run in runs for name in run.curves)
        plots = [
            learning_curve(
                stage, name, [Line(run.origin.seed, *run.curves[name]) for run in runs if name in run.curves]
            )
            for name in names
        ]
        if plots:
            caption = "; ".join(_run_facts(run, len(runs) > 1) for run in runs)
            blocks.append({"title": stage_title(stage).capitalize(), "plots": plots, "caption": f"{caption}."})
    return blocks


def seed_colours(metrics: Sequence[Metrics]) -> list[tuple[int, str]]:
    """Seed -> the CSS variable of its colour in the learning curves."""
    return [(seed, f"series-{seed % SERIES_COUNT}") for seed in sorted({one.origin.seed for one in metrics})]


def gallery(evaluations: Sequence[Evaluation], counts: Mapping[str, int], width: int) -> list[dict[str, Any]]:
    """Rows of image, prediction of every stage, truth; models of one seed. counts: rows by set of images."""
    blocks = []
    for domain in picture_sets(evaluations):
        models = [one for one in evaluations if domain in one.domains and one.domains[domain].predictions]
        listed_by = [{item.image: item for item in one.domains[domain].predictions} for one in models]
        common = [image for image in listed_by[0] if all(image in items for items in listed_by)] if models else []
        if models and not common:
            raise DataError(
                f"{models[0].read_from}: no {domain} image of which all models of its seed have a prediction;"
                " run `evaluate` again for all stages"
            )
        chosen = [common[index] for index in evenly(len(common), counts.get(domain, counts["night"]))]
        if not chosen:
            continue
        names, colours = models[0].classes, np.array(models[0].colours, dtype=np.uint8)
        rows = []
        for image in chosen:
            beside = models[0].read_from
            truth = listed_by[0][image]
            line = [picture(find(image, beside), width)]
            for model, items in zip(models, listed_by, strict=True):
                path = find(items[image].prediction, model.read_from)
                line.append(label_picture(path, names, colours, width))
            if truth.label:
                encoding = encoding_of(truth.label, truth.encoding)
                line.append(label_picture(find(truth.label, beside), names, colours, width, encoding))
            else:
                line.append("")
            rows.append(line)
        columns = ["image", *(stage_title(one.model_stage) for one in models), "truth"]
        blocks.append({"title": domain.capitalize(), "columns": columns, "rows": rows})
    return blocks


def panels(drawn: Sequence[Illustrations], width: int) -> list[dict[str, Any]]:
    """The blocks of pictures that the stages drew."""

    def filled(panel: Panel, path: Path) -> dict[str, Any]:
        rows = [[picture(find(name, path), width) if name else "" for name in row] for row in panel.rows]
        return {"title": panel.title, "caption": panel.caption, "columns": panel.columns, "rows": rows}

    return [filled(panel, one.read_from) for one in drawn for panel in one.panels if panel.rows]


def pairs_panel(ranking: Ranking, sheet: Path, *, several_seeds: bool) -> dict[str, Any]:
    """The contact sheet of `pair` as one block, with how many pairs it has kept."""
    seed = f"Seed {origin(ranking.read_from).seed}: " if several_seeds else ""
    caption = (
        f"{seed}{ranking.reaching_tau()} of {len(ranking.images)} night images have a day image, among"
        f" {ranking.candidates}, whose label overlap ratio reaches τ = {ranking.tau:g} (pair.overlap:"
        f" {ranking.overlap}). Such a pair is kept: self-training takes the day image for a reference where the night"
        " image had none, or any with pair.replace. Each row shows a night image, the day image that is most like it,"
        " and the predictions that were compared; the rows go evenly from the highest ratio to the lowest. A pair is"
        " right where both photographs show one place."
    )
    columns = ["night image, best day image, night prediction, day prediction"]
    rows = [[picture(sheet, _SHEET_WIDTH)]]
    return {"title": "Day references by label overlap", "caption": caption, "columns": columns, "rows": rows}


def overlap_part(overlaps: Sequence[Overlap], tau: float | None) -> dict[str, str]:
    """The histogram of label overlap ratios and what it says in words."""
    chosen = {name: sum(one.chosen == name for one in overlaps) for name in dict.fromkeys(o.chosen for o in overlaps)}
    caption = f"Label overlap ratio of {len(overlaps)} night images and their day references."
    if tau is not None:
        caption += f" τ = {tau:g}: {sum(one.lor > tau for one in overlaps)} lie above."
    caption += f" Labels used: {', '.join(f'{name} for {count}' for name, count in chosen.items())}."
    groups = distance_groups(overlaps)
    if len(groups) > 1:
        parts = [
            f"{name} {np.median([one.lor for one in members]):.2f} ({len(members)})"
            for name, members in groups
            if members
        ]
        caption += (
            " Shade: the true distance between the two cameras, which the method does not know;"
            f" median ratio (images): {', '.join(parts)}."
        )
    return {"svg": overlap_histogram(overlaps, tau), "caption": caption}


def threshold_lines(thresholds: Mapping[str, Threshold], evaluation: Evaluation) -> list[dict[str, Any]]:
    """The statistics of the offline pseudo-labels, class by class, and their sum."""
    foreign = [name for name in thresholds if name not in evaluation.classes]
    if foreign:
        raise DataError(
            f"the illustrations have thresholds for {', '.join(foreign)}, which the scores' class list lacks;"
            " the inputs belong to different data"
        )
    colours = dict(zip(evaluation.classes, map(_hexadecimal, evaluation.colours), strict=True))

    def line(name: str, threshold: str, predicted: int, kept: int) -> dict[str, Any]:
        width = round(100 * kept / predicted, 1) if predicted else None
        return {
            "name": name,
            "colour": colours.get(name, ""),
            "threshold": threshold,
            "predicted": f"{predicted:,}",
            "kept": f"{kept:,}",
            "share": "–" if width is None else f"{width:.1f} %",
            "width": width,
            "total": name not in colours,
        }

    lines = [
        # a class that was never predicted has no threshold, whatever number stands for that
        line(name, f"{one.threshold:.3f}" if one.predicted else "–", one.predicted, one.kept)
        for name in evaluation.classes
        if (one := thresholds.get(name))
    ]
    sums = sum(one.predicted for one in thresholds.values()), sum(one.kept for one in thresholds.values())
    return [*lines, line("all classes", "", *sums)]


def model_lines(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """What identifies every model behind the scores."""
    return [
        {
            "title": stage_title(one.model_stage),
            "seed": one.seed,
            "experiment": one.experiment,
            "parameters": f"{one.parameters:,}",
            "sha256": one.sha256[:12] or "–",
            "file": one.model,
        }
        for models in by_stage(evaluations).values()
        for one in models
    ]


def section_lines(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The resolved configurations, those of seeds that do not differ as one."""
    found: dict[tuple[str, str, str], list[int | None]] = {}
    for path in paths:
        place = origin(path)
        found.setdefault((place.stage, place.experiment, read_text(path)), []).append(place.seed)
    return [
        {
            "title": stage,
            "note": ", ".join(filter(None, [experiment, seed_list(seeds)])),
            "text": text.strip(),
        }
        for (stage, experiment, text), seeds in sorted(
            found.items(), key=lambda item: (stage_order(item[0][0]), item[0][1], seed_list(item[1]))
        )
    ]


def protocol_lines(evaluations: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """Set of images -> how it was evaluated; where the models' protocols differ, each with its models."""
    result = []
    for domain in domains(evaluations):
        models = [one for one in evaluations if domain in one.domains]
        texts: dict[str, list[str]] = {}
        for one in models:
            protocol = one.domains[domain].protocol
            upsampled = f"upsampled: {protocol.upsampling}" if protocol.upsampling else ""
            absent = f"absent from the truth: {', '.join(protocol.absent)}" if protocol.absent else ""
            text = "; ".join(part for part in (protocol.line(), upsampled, absent) if part)
            texts.setdefault(text, []).append(f"{stage_title(one.model_stage)}, seed {one.seed}")
        lines = list(texts) if len(texts) == 1 else [f"{text} ({'; '.join(who)})" for text, who in texts.items()]
        result.append((domain, " · ".join(lines)))
    return result


def protocol_notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """A warning for each set of images on which the models were not all evaluated alike."""
    return [
        f"The models were evaluated on the {domain} images under {count} protocols: compare with care."
        for domain in domains(evaluations)
        for count in [len(protocols(evaluations, domain))]
        if count > 1
    ]


def missing(
    evaluations: Sequence[Evaluation],
    metrics: Sequence[Metrics],
    drawn: Sequence[Illustrations],
    sections: Sequence[Path],
) -> list[str]:
    """What a full report has and this one has not, in words."""
    stages = by_stage(evaluations)
    seeds = sorted({one.seed for one in evaluations})
    measured = domains(evaluations)
    expected = () if stages.keys() & {"adapt", "ensemble"} else ("pretrain", "warmup", "self_train", "distill")
    lines = [f"scores of {stage_title(stage)}" for stage in expected if stage not in stages]
    for stage, models in stages.items():
        absent = [seed for seed in seeds if seed not in {one.seed for one in models}]
        lines += [f"scores of {stage_title(stage)}, {seed_list(absent)}"] if absent else []
        for domain in measured:
            without = [one.seed for one in models if domain not in one.domains]
            lines += [f"{domain} scores of {stage_title(stage)}, {seed_list(without)}"] if without else []
    for name, given in (
        ("learning curves", {one.origin.stage for one in metrics}),
        ("configuration", {origin(path).stage for path in sections}),
    ):
        lines += [f"{name} of {stage_title(stage)}" for stage in stages if stage not in given]
    for domain in picture_sets(evaluations):
        pictured = {
            one.model_stage
            for one in evaluations
            if one.seed == seeds[0] and domain in one.domains and one.domains[domain].predictions
        }
        lines += [f"{domain} predictions of {stage_title(stage)}" for stage in stages if stage not in pictured]
    if not expected:
        return lines
    if not any(one.panels for one in drawn):
        why = " (there is no outer loop, and the night images have no day references)" if drawn else ""
        lines.append(f"pictures of translations and pseudo-labels{why}")
    if not any(one.lor for one in drawn):
        why = " (the night images have no day references)" if drawn else ""
        lines.append(f"label overlap ratios{why}")
    if not any(one.thresholds for one in drawn):
        lines.append("thresholds and counts of the offline pseudo-labels")
    return lines


def unmeasured(evaluations: Sequence[Evaluation]) -> list[str]:
    """A line for night and for day, as far as no model was scored there: their labelled sets may be left out."""
    known = domains(evaluations)
    return [f"{name}: not measured: there is no set {name}_val" for name in ("night", "day") if name not in known]


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` indices (at most `count`) spread evenly over 0 .. count - 1, each amid its share."""
    wanted = min(count, wanted)
    return [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def seed_list(seeds: Iterable[int | None]) -> str:
    """`seed 0`, `seeds 0, 1 and 2`; nothing for what has no seed."""
    distinct = sorted({seed for seed in seeds if seed is not None})
    if not distinct:
        return ""
    return f"seed{'s' if len(distinct) > 1 else ''} {listed([str(seed) for seed in distinct])}"


def short_count(number: int) -> str:
    """`912 thousand`, `44.5 million`."""
    for size, word in ((1_000_000, "million"), (1_000, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return str(number)


def _class_changes(evaluations: Sequence[Evaluation], domain: str, stage: str) -> dict[str, float]:
    stages = by_stage(evaluations)
    if BASELINE not in stages:
        return {}
    before, after = (class_means(stages[name], domain) for name in (BASELINE, stage))
    return {name: after[name] - before[name] for name in before if before[name] is not None and after[name] is not None}


def _run_facts(run: Metrics, several: bool) -> str:
    steps = max(int(curve[0][-1]) for curve in run.curves.values()) if run.curves else 0
    facts = [f"{steps:,} steps" + (f" in {duration(run.seconds)}" if run.seconds is not None else "")]
    facts += [f"{run.speed:.1f} images per second (median)"] if run.speed is not None else []
    return (f"Seed {run.origin.seed}: " if several else "") + ", ".join(facts)


def tile(name: str, value: str, note: str) -> dict[str, str]:
    number, _, deviation = value.partition(" ± ")
    return {"name": name, "value": number, "spread": deviation, "note": note}


def _mean(cell: Any) -> float | None:
    return None if cell is None else cell.mean


def _share(part: int, whole: int) -> str:
    if part == 0:
        return "absent"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.05 else "< 0.1 %"


def _hexadecimal(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
