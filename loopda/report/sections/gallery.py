"""The section "Gallery": what the models of the first seed predict for images of every set."""

from typing import Any

import numpy as np

from loopda.data.sampling import evenly
from loopda.errors import DataError
from loopda.pipeline.stages import stage_title
from loopda.report.inputs import Evaluation, find
from loopda.report.page import PageSettings
from loopda.report.pictures import label_picture, picture
from loopda.report.results import Results
from loopda.report.summary import hue, set_title

ANCHOR, LINK = "gallery", "Gallery"


def section(results: Results, settings: PageSettings) -> dict[str, Any] | None:
    """The values of gallery.html; None without predictions."""
    seed = results.seeds[0]
    blocks = []
    for domain in results.picture_sets:
        models = [
            model
            for model in results.evaluations
            if model.seed == seed and domain in model.domains and model.domains[domain].predictions
        ]
        count = settings.gallery_day_images if hue(domain) == "day" else settings.gallery_images
        if rows := picture_rows(models, domain, count, settings.picture_width):
            columns = ["image", *(stage_title(model.model_stage) for model in models), "truth"]
            blocks.append({"title": set_title(domain).capitalize(), "columns": columns, "rows": rows})
    return {"shown_seed": seed, "gallery": blocks} if blocks else None


def picture_rows(models: list[Evaluation], domain: str, count: int, width: int) -> list[list[str]]:
    """`count` rows of pictures: the image, the prediction of every model, the truth ("" where there is none)."""
    if not models:
        return []
    first = models[0]
    predictions = [{item.image: item for item in model.domains[domain].predictions} for model in models]
    common = [image for image in predictions[0] if all(image in by_image for by_image in predictions)]
    if not common:
        raise DataError(
            f"{first.read_from}: no {domain} image of which all models of its seed have a prediction;"
            " run `evaluate` again for all stages"
        )
    colours = np.array(first.colours, dtype=np.uint8)
    rows = []
    for image in [common[index] for index in evenly(len(common), count)]:
        row = [picture(find(image, first.read_from), width)]
        for model, by_image in zip(models, predictions, strict=True):
            row.append(label_picture(find(by_image[image].prediction, model.read_from), colours, width))
        truth = predictions[0][image].label
        rows.append([*row, label_picture(find(truth, first.read_from), colours, width) if truth else ""])
    return rows
