"""Scores over seeds: means, sample standard deviations, and differences between models with their intervals."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.experiments import FULL_SIZE
from loopda.pipeline.stages import MEASURED
from loopda.report.inputs import Domain, Evaluation
from loopda.report.words import NONE, decimal, listed

BASELINE = "pretrain"


@dataclass(frozen=True)
class Cell:
    """A number over seeds: mean, sample standard deviation (None of a single seed), and the number of seeds."""

    mean: float
    std: float | None
    seeds: int

    def text(self, *, signed: bool = False) -> str:
        """`38.7`, or `38.7 ± 0.6` over several seeds; `signed` writes the plus too. One decimal."""
        text = decimal(self.mean, signed=signed)
        return text if self.std is None else f"{text} ± {self.std:.1f}"


@dataclass(frozen=True)
class Difference(Cell):
    """The difference between two models, paired by seed; seeds: how many of them both models have.

    interval: the ends of the 95 % confidence interval of the mean, None of a single seed. unpaired: the number of seeds
    that only one of the two models has.
    """

    interval: tuple[float, float] | None = None
    unpaired: int = 0

    def text(self, *, signed: bool = False) -> str:
        """`+9.0 [6.5, 11.5]`, or `+9.0` of a single seed; with the number of pairs where seeds are left out."""
        text = decimal(self.mean, signed=signed)
        if self.interval:
            text += f" [{', '.join(map(decimal, self.interval))}]"
        return f"{text}, {self.seeds} seed{'s' if self.seeds > 1 else ''}" if self.unpaired else text


@dataclass(frozen=True)
class MeanScores:
    """The scores of a model stage on one set of images, over seeds. A score that no seed has is None."""

    seeds: tuple[int, ...]
    mIoU: Cell | None
    fwIoU: Cell | None
    pixel_accuracy: Cell | None
    gain: Difference | None
    """mIoU less that of source-only, paired by seed; None for source-only itself."""


Measure = Callable[[Domain], float | None]
"""Gives a number of the scores on a set of images."""


def measure(evaluations: Iterable[Evaluation], domain: str, of: Measure) -> Cell | None:
    """A number over models, one for each seed; None where no model has it."""
    values = list(_by_seed(evaluations, domain, of).values())
    return Cell(*spread(values), len(values)) if values else None


def change(
    evaluations: Iterable[Evaluation], baseline: Iterable[Evaluation], domain: str, of: Measure
) -> Difference | None:
    """A number less that of the baseline, paired by seed; None where no seed has both.

    Its interval is Student's t over the differences. So it covers what the random numbers of training change, on the
    same images; other images are not in it.
    """
    after, before = _by_seed(evaluations, domain, of), _by_seed(baseline, domain, of)
    pairs = [(after[seed], before[seed]) for seed in after if seed in before]
    if not pairs:
        return None
    mean, std = spread([later - earlier for later, earlier in pairs])
    interval = _interval(pairs) if len(pairs) > 1 else None
    return Difference(mean, std, len(pairs), interval, len(after.keys() ^ before.keys()))


def _interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The 95 % confidence interval of the mean difference of two or more pairs."""
    from scipy import stats  # slow to import, and only results of several seeds need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of equal differences, whose interval is a point
        interval = stats.ttest_rel(*zip(*pairs, strict=True)).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def mean_scores(models: Sequence[Evaluation], base: Sequence[Evaluation], domain: str) -> MeanScores:
    """The scores of one model stage on a set of images, one model for each seed.

    base: the source-only models; [] where there are none, or these are the models themselves.
    """
    return MeanScores(
        seeds=tuple(sorted(model.seed for model in models if domain in model.domains)),
        mIoU=measure(models, domain, lambda scores: scores.mIoU),
        fwIoU=measure(models, domain, lambda scores: scores.fwIoU),
        pixel_accuracy=measure(models, domain, lambda scores: scores.pixel_accuracy),
        gain=change(models, base, domain, lambda scores: scores.mIoU),
    )


@dataclass(frozen=True)
class ByStatistics:
    """The mean IoU of a model on a set of images by normalisation statistics, over seeds.

    title: of the model. used, mIoU: the stated statistics. other, other_mIoU: the alternative, "" and None where it was
    not scored. distance: of the images from the used statistics, None where these are their own. far: above it, they
    lie far.
    """

    domain: str
    title: str
    used: str
    mIoU: Cell | None
    other: str
    other_mIoU: Cell | None
    distance: Cell | None
    far: float

    @property
    def is_far(self) -> bool:
        """Whether the images lie far from the used statistics."""
        return self.distance is not None and self.distance.mean > self.far

    @property
    def may_matter(self) -> bool:
        """Whether the page shows the row: the images lie far, or were scored with other statistics too."""
        return self.is_far or bool(self.other)


def by_statistics(models: Sequence[Evaluation], domain: str, title: str) -> ByStatistics | None:
    """The scores of one model by statistics, one evaluation for each seed; None in files of earlier versions."""
    known = [model.domains[domain].statistics for model in models if domain in model.domains]
    if not known or None in known:
        return None
    return ByStatistics(
        domain,
        title,
        used=" or ".join(dict.fromkeys(one.used for one in known)),
        mIoU=measure(models, domain, lambda scores: scores.mIoU),
        other=" or ".join(dict.fromkeys(one.other.used for one in known if one.other)),
        other_mIoU=measure(models, domain, lambda scores: scores.statistics.other and scores.statistics.other.mIoU),
        distance=measure(models, domain, lambda scores: scores.statistics.distance),
        far=known[0].far,
    )


def far_lines(rows: Iterable[ByStatistics]) -> list[str]:
    """A warning for each set of images, and the statistics from which it lies far for some models."""
    far: dict[tuple[str, str, float], list[ByStatistics]] = {}
    for row in rows:
        if row.is_far:
            far.setdefault((row.domain, row.used, row.far), []).append(row)
    return [
        f"The {domain} images lie far from the {used} statistics for {listed([row.title for row in found])} (distance"
        f" {max(row.distance.mean for row in found):.2f}, where day is 1 from night; more than {limit:g} is far): other"
        " statistics may suit them better (evaluate.statistics)."
        for (domain, used, limit), found in far.items()
    ]


def domains(evaluations: Iterable[Evaluation]) -> list[str]:
    """The sets of images that were evaluated: test before validation, night before day, then others by name.

    The first is the one that headlines and figures show.
    """
    names = {name for model in evaluations for name in model.domains}
    known = list(MEASURED)
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def set_title(domain: str) -> str:
    """What tables call a set of images: `night test`, `day validation`; any other set by its name."""
    name = domain.removesuffix(FULL_SIZE)
    title = MEASURED[name].replace("_val", " validation").replace("_", " ") if name in MEASURED else name
    return title if name == domain else f"{title}, full size"


def hue(domain: str) -> str:
    """The colour of a set of images: `night` or `day` for those of validation and test, else its name."""
    return domain.removesuffix("-test") if domain in MEASURED else domain


def beside(domains: Iterable[str]) -> list[str]:
    """The validation sets that have a test set beside them, which is what the results are."""
    known = list(domains)
    return [name for name in known if f"{name.removesuffix(FULL_SIZE)}-test" in known]


def choice_note(domains: Sequence[str]) -> str:
    """On which images settings are chosen; "" where there is no such set."""
    if beside(domains):
        return "Settings are to be chosen on the validation images; the test images are for the results."
    if any(name in domains for name in ("night", "day")):
        return "Settings may have been chosen on these validation images: there are no test images beside them."
    return ""


def picture_sets(evaluations: Sequence[Evaluation]) -> list[str]:
    """The `domains` without those that score the images of another set again, at the size of their label files, and
    without validation sets that have a test set beside them."""
    scored_again = {
        name for model in evaluations for name, scores in model.domains.items() if scores.protocol.scored_at
    }
    found = domains(evaluations)
    return [name for name in found if name not in (*scored_again, *beside(found))]


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """DataError unless the models share their classes and were scored on the same images at the same size."""
    first = evaluations[0]
    seen: dict[str, tuple[Evaluation, Domain]] = {}
    for model in evaluations:
        if model.classes != first.classes or model.colours != first.colours:
            raise DataError(
                f"{_name(model)} and {_name(first)} have different class lists; they cannot stand in one table:"
                " evaluate both with the same data section"
            )
        for name, domain in model.domains.items():
            other, reference = seen.setdefault(name, (model, domain))
            for key in ("images", "width", "height", "scored_at", "classes"):
                value, expected = getattr(domain.protocol, key), getattr(reference.protocol, key)
                if value != expected:
                    raise DataError(
                        f"{_name(model)} and {_name(other)} were evaluated on different {name} sets: {key} is"
                        f" {value} and {expected}; run `evaluate` again for the older one"
                    )


def protocols(evaluations: Sequence[Evaluation], domain: str) -> list[str]:
    """The distinct protocol lines of a set of images; one where every model was evaluated alike."""
    scored = [model.domains[domain] for model in evaluations if domain in model.domains]
    return list(dict.fromkeys(scores.line() for scores in scored))


def shown(cell: Cell | None, *, signed: bool = False) -> str:
    """The text of a cell, a dash for none."""
    return NONE if cell is None else cell.text(signed=signed)


def _by_seed(evaluations: Iterable[Evaluation], domain: str, of: Measure) -> dict[int, float]:
    values = {model.seed: of(model.domains[domain]) for model in evaluations if domain in model.domains}
    return {seed: value for seed, value in sorted(values.items()) if value is not None}


def _name(evaluation: Evaluation) -> str:
    return f"{evaluation.model_stage} of {evaluation.experiment}, seed {evaluation.seed}"
