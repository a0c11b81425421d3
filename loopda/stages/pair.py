"""Stage `pair`: day references for night images that have none, by label overlap ratio (LoopDA, section 4.4)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from loopda.config import Count, Section
from loopda.data.batches import whole_images
from loopda.data.dataset import Frames, Input, Length, open_frames
from loopda.data.layouts.table import write_table
from loopda.data.manifest import Row, read_manifest, with_reference, write_manifest
from loopda.data.ranking import PairRanking, write_ranking
from loopda.data.sampling import evenly
from loopda.data.sets import without_labels
from loopda.data.tiles import class_map, photograph, tile_size
from loopda.errors import ConfigError, DataError
from loopda.evaluation.probabilities import predict
from loopda.labels.classes import ClassList
from loopda.labels.contact_sheet import SheetRow, Tile, write_contact_sheet
from loopda.labels.retrieval import Ranking, rank
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import Segmenter
from loopda.runtime.command import command, writes
from loopda.runtime.device import choose_device, use_threads
from loopda.runtime.log import Log

Overlap = Literal["shift_sensitive", "each_static"]


class Config(Section):
    """The section `pair`, with `input`.

    enabled: whether self-training reads the references of this stage. replace: whether they also replace given
    references. overlap: the LOR of all shift-sensitive classes together, or the mean of the LORs of the static classes.
    tau: the LOR from which a day image becomes a reference. size: width and height of the label maps that are compared.
    best: how many day images the ranking lists for each night image. pictures: rows of the contact sheet.
    """

    input: Input
    enabled: bool
    replace: bool
    overlap: Overlap
    tau: Annotated[float, Field(gt=0, le=1)]
    size: tuple[Length, Length]
    best: Count
    batch_size: Count
    pictures: Count


@writes("paired")
def run(
    *,
    config: Config,
    warmed_up: Path,
    night: Path,
    day: list[Path],
    classes: Path,
    paired: Path,
    pairs: Path,
    ranking: Path,
    sheet: Path,
    log: Path,
    device: str = "auto",
    threads: int = 2,
) -> None:
    """Rank the day images of the manifest `day` for each image of `night` by the overlap of their predictions.

    day: the first of these manifests that names an image is read, without its label maps.
    paired: the manifest `night` with the references that were found, for self-training. pairs: the same for people and
    for the layout `table` (CSV: image, label, reference). ranking: the best day images of each night image with their
    ratios (JSON). sheet: pairs from the highest to the lowest ratio (PNG). A night image gets no reference if the best
    ratio is below tau; one that has a reference keeps it, unless the section says `replace`.
    """
    logger = Log(log, "pair")
    chosen_device = choose_device(device)
    use_threads(threads)
    frames = open_frames(night, classes, config.input.size, threads=threads)
    candidates = Frames(day_images(day), frames.classes, config.input.size, threads=threads)
    groups = compared_classes(frames.classes, config.overlap)

    # predict both domains, each with its own statistics
    segmenter = load_segmenter(warmed_up).to(chosen_device)
    maps = {}
    for domain, images in (("night", frames), ("day", candidates)):
        segmenter.use_statistics(domain)
        maps[domain] = label_maps(segmenter, images, config.size, config.batch_size, chosen_device)
        logger.say(f"{len(images)} {domain} images predicted")

    # rank the day images for each night image by the label overlap ratio (LOR)
    ranked = rank(**maps, groups=groups, best=config.best)

    # keep the best day image as the reference where its ratio reaches tau
    best, kept = ranked.day[:, 0].tolist(), (ranked.lor[:, 0] >= config.tau).tolist()
    found = [candidates.rows[index].image if enough else None for index, enough in zip(best, kept, strict=True)]
    rows = [
        row if row.reference and not config.replace else with_reference(row, reference)
        for row, reference in zip(frames.rows, found, strict=True)
    ]

    # save and log
    write_contact_sheet(sheet, pair_rows(frames, candidates, maps, ranked, config))
    write_ranking(ranking, named_ranking(frames, candidates, ranked, config))
    write_table(pairs, rows)
    write_manifest(paired, rows)
    logger.say(
        f"{sum(kept)} of {len(kept)} night images have a day image with a label overlap ratio of at least {config.tau};"
        f" {_referenced(rows)} have a reference now, {_referenced(frames.rows)} had one before"
    )


def compared_classes(classes: ClassList, overlap: Overlap) -> list[frozenset[int]]:
    """The groups of classes whose label overlap ratios are averaged; ConfigError where the class list has none."""
    if overlap == "each_static":
        groups = [frozenset({index}) for index in sorted(classes.static)]
    else:
        groups = [classes.ssc] if classes.ssc else []
    if not groups:
        raise ConfigError(
            f"pair.overlap: the class list has no class that is {overlap.removeprefix('each_').replace('_', ' ')};"
            " mark some in it, or choose the other overlap"
        )
    return groups


def label_maps(
    segmenter: Segmenter, frames: Frames, size: tuple[int, int], batch_size: int, device: torch.device
) -> Tensor:
    """The predictions (N, height, width) uint8 of all frames at `size` (width, height)."""
    batches = whole_images(frames, batch_size, device)
    return torch.cat([predict(segmenter, images, size[::-1])[0] for _, images in batches])


def named_ranking(frames: Frames, candidates: Frames, ranked: Ranking, config: Config) -> PairRanking:
    """The ranking by the names of the images instead of their indices, for its file."""
    images = [
        {
            "night": str(row.image),
            "best": [
                {"day": str(candidates.rows[index].image), "lor": lor}
                for index, lor in zip(indices, ratios, strict=True)
            ],
        }
        for row, indices, ratios in zip(frames.rows, ranked.day.tolist(), ranked.lor.tolist(), strict=True)
    ]
    return PairRanking(overlap=config.overlap, tau=config.tau, candidates=len(candidates), images=images)


def day_images(manifests: Sequence[Path]) -> list[Row]:
    """The rows of the first manifest that has any, without labels; DataError where none has."""
    for path in manifests:
        if rows := read_manifest(path, empty=len(manifests) > 1):
            return without_labels(rows)
    raise DataError(f"{', '.join(map(str, manifests))}: no day images to pair with; name some (data.day)")


def pair_rows(
    frames: Frames, candidates: Frames, maps: dict[str, Tensor], ranked: Ranking, config: Config
) -> list[SheetRow]:
    """For a contact sheet: night images with their best day image and both predictions, evenly from the highest ratio
    to the lowest."""
    lor = ranked.lor[:, 0]
    order = lor.argsort(descending=True, stable=True).tolist()
    shown = [order[place] for place in evenly(len(order), config.pictures)]
    best = ranked.day[:, 0].tolist()
    nights = _tiles("night", frames, shown, maps["night"])
    days = _tiles("day", candidates, [best[number] for number in shown], maps["day"])

    sheet: list[SheetRow] = [
        f"{len(order)} night images, {len(candidates)} day images; {int((lor >= config.tau).sum())} pairs reach"
        f" tau = {config.tau} of the label overlap ratio ({config.overlap})"
    ]
    for number, night, day in zip(shown, nights, days, strict=True):
        below = "" if lor[number] >= config.tau else ", below tau: no reference"
        sheet += [f"label overlap ratio {lor[number]:.3f}{below}", [night[0], day[0], night[1], day[1]]]
    return sheet


def _tiles(domain: str, frames: Frames, indices: list[int], maps: Tensor) -> list[tuple[Tile, Tile]]:
    """The photograph and the prediction of each of `indices`, all with the shape of the first."""
    rows = [frames.rows[index] for index in indices]
    size = tile_size(rows[0])
    return [
        (
            photograph(f"{domain}: {row.image.name}", row.image, size),
            class_map(f"{domain} prediction", maps[index].cpu().numpy(), frames.classes, size),
        )
        for index, row in zip(indices, rows, strict=True)
    ]


def _referenced(rows: Sequence[Row]) -> int:
    return sum(row.reference is not None for row in rows)


if __name__ == "__main__":
    command(run)
