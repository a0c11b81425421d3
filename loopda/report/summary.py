"""The numbers of the report: means and spreads over seeds, changes against source-only, tables of text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.stages import stage_order
from loopda.report.inputs import Domain, Evaluation

BASELINE = "pretrain"
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One number over seeds: mean, sample standard deviation (None for one seed), and how many seeds."""

    mean: float
    std: float | None
    seeds: int

    def text(self, *, signed: bool = False) -> str:
        """`38.7`, or `38.7 ± 0.6` over several seeds; `signed` writes the plus too. One decimal."""
        shown = f"{self.mean:+.1f}" if signed else f"{self.mean:.1f}"
        if float(shown) == 0:
            shown = "0.0"
        shown = shown.replace("-", MINUS)
        return shown if self.std is None else f"{shown} ± {self.std:.1f}"


@dataclass(frozen=True)
class Row:
    """A model stage in one experiment on one set of images. A score without a value in any seed is None."""

    experiment: str
    stage: str
    domain: str
    seeds: tuple[int, ...]
    mIoU: Cell | None
    fwIoU: Cell | None
    pixel_accuracy: Cell | None
    gain: Cell | None
    """mIoU less that of source-only, paired by seed; None for source-only itself."""


Measure = Callable[[Domain], float | None]
"""Takes one number out of the scores on one set of images."""


def measure(evaluations: Iterable[Evaluation], domain: str, of: Measure) -> Cell | None:
    """One number over the given models (one per seed); None where no model has it."""
    values = list(_by_seed(evaluations, domain, of).values())
    return Cell(*spread(values), len(values)) if values else None


def change(evaluations: Iterable[Evaluation], baseline: Iterable[Evaluation], domain: str, of: Measure) -> Cell | None:
    """The number's difference to the baseline's, paired by seed; None where no seed has both."""
    after, before = _by_seed(evaluations, domain, of), _by_seed(baseline, domain, of)
    differences = [after[seed] - before[seed] for seed in after if seed in before]
    return Cell(*spread(differences), len(differences)) if differences else None


def rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """One row per experiment, model stage and set of images, in that order."""
    result = []
    experiments = sorted({one.experiment for one in evaluations})
    for experiment in experiments:
        own = [one for one in evaluations if one.experiment == experiment]
        base = baseline(experiment, evaluations)
        for stage in sorted({one.model_stage for one in own}, key=stage_order):
            models = [one for one in own if one.model_stage == stage]
            for domain in domains(models):
                result.append(row(models, base, domain))
    return result


def row(models: Sequence[Evaluation], base: Sequence[Evaluation], domain: str) -> Row:
    """The row of one model stage: `models` and source-only `base`, one each per seed."""
    stage = models[0].model_stage
    return Row(
        experiment=models[0].experiment,
        stage=stage,
        domain=domain,
        seeds=tuple(sorted(one.seed for one in models if domain in one.domains)),
        mIoU=measure(models, domain, lambda scores: scores.mIoU),
        fwIoU=measure(models, domain, lambda scores: scores.fwIoU),
        pixel_accuracy=measure(models, domain, lambda scores: scores.pixel_accuracy),
        gain=None if stage == BASELINE else change(models, base, domain, lambda scores: scores.mIoU),
    )


def baseline(experiment: str, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The source-only models an experiment is compared with: its own, else those of the one it can stand on.

    Experiments share stages: an ablation of the warm-up has no source-only model of its own. Where several
    experiments on the same data have one, the scores do not tell which it is; the list is then empty, because
    no gain is better than a wrong one.
    """
    models = [one for one in evaluations if one.model_stage == BASELINE]
    own = [one for one in models if one.experiment == experiment]
    if own:
        return own
    data = {_data(one) for one in evaluations if one.experiment == experiment}
    models = [one for one in models if _data(one) in data]
    return models if len({one.experiment for one in models}) == 1 else []


def domains(evaluations: Iterable[Evaluation]) -> list[str]:
    """The sets of images that were evaluated: night, day, then others by name."""
    names = {name for one in evaluations for name in one.domains}
    known = ["night", "day"]
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def picture_sets(evaluations: Sequence[Evaluation]) -> list[str]:
    """The `domains` without those that are others' images, scored once more at the size of their label files."""
    scored_again = {name for one in evaluations for name, its in one.domains.items() if its.protocol.scored_at}
    return [name for name in domains(evaluations) if name not in scored_again]


def check_comparable(evaluations: Sequence[Evaluation]) -> None:
    """DataError unless the models share their classes and were scored on the same images at the same size."""
    first = evaluations[0]
    seen: dict[str, tuple[Evaluation, Domain]] = {}
    for one in evaluations:
        if one.classes != first.classes or one.colours != first.colours:
            raise DataError(
                f"{_name(one)} and {_name(first)} have different class lists; they cannot stand in one table:"
                " evaluate both with the same data section"
            )
        for name, domain in one.domains.items():
            other, reference = seen.setdefault(name, (one, domain))
            for key in ("images", "width", "height", "scored_at"):
                ours, theirs = getattr(domain.protocol, key), getattr(reference.protocol, key)
                if ours != theirs:
                    raise DataError(
                        f"{_name(one)} and {_name(other)} were evaluated on different {name} sets: {key} is"
                        f" {ours} and {theirs}; run `evaluate` again for the older one"
                    )


def protocols(evaluations: Sequence[Evaluation], domain: str) -> list[str]:
    """The distinct protocol lines of a set of images: one, if every model was evaluated alike."""
    return list(dict.fromkeys(one.domains[domain].protocol.line() for one in evaluations if domain in one.domains))


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of text without boxes: the first flush left, the others flush right, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def shown(cell: Cell | None, *, signed: bool = False) -> str:
    """The text of a cell, a dash for none."""
    return NONE if cell is None else cell.text(signed=signed)


def _by_seed(evaluations: Iterable[Evaluation], domain: str, of: Measure) -> dict[int, float]:
    values = {one.seed: of(one.domains[domain]) for one in evaluations if domain in one.domains}
    return {seed: value for seed, value in sorted(values.items()) if value is not None}


def _data(evaluation: Evaluation) -> tuple[object, ...]:
    """What tells one set of evaluated images and classes from another."""
    sets = [
        (name, one.protocol.images, one.protocol.width, one.protocol.height)
        for name, one in sorted(evaluation.domains.items())
    ]
    return (tuple(evaluation.classes), *sets)


def _name(evaluation: Evaluation) -> str:
    return f"{evaluation.model_stage} of {evaluation.experiment}, seed {evaluation.seed}"
