"""What a report says about one experiment, computed once; the sections of the page and the text table read it here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from loopda.data.ranking import PairRanking
from loopda.errors import DataError
from loopda.evaluation.scores import spread
from loopda.pipeline.stages import stage_order, stage_title
from loopda.report.data_notes import DataNotes
from loopda.report.illustrations import Illustrations
from loopda.report.inputs import Configuration, Evaluation, Metrics
from loopda.report.summary import (
    BASELINE,
    ByStatistics,
    MeanScores,
    by_statistics,
    check_comparable,
    domains,
    mean_scores,
    picture_sets,
    protocols,
)
from loopda.report.words import seed_list

ClassScores = dict[str, float | None]
"""IoU in percent by class; None where the class occurs neither in the truth nor in the prediction."""


@dataclass(frozen=True)
class Pairs:
    """What `pair` wrote for one seed: the ranking of its night images, and its contact sheet."""

    ranking: PairRanking
    sheet: Path


@dataclass(frozen=True)
class Results:
    """What the stage `report` was given, and what follows from it.

    evaluations: of one experiment, as `one_experiment` orders and checks them. illustrations: all of one seed.
    pairs, data: None where they were not given.
    """

    evaluations: Sequence[Evaluation]
    metrics: Sequence[Metrics] = ()
    illustrations: Sequence[Illustrations] = ()
    configurations: Sequence[Configuration] = ()
    pairs: Pairs | None = None
    data: DataNotes | None = None

    @cached_property
    def stages(self) -> dict[str, list[Evaluation]]:
        """Model stage -> its models, one per seed, in the order of the pipeline."""
        names = sorted({model.model_stage for model in self.evaluations}, key=stage_order)
        return {name: [model for model in self.evaluations if model.model_stage == name] for name in names}

    @cached_property
    def last_stage(self) -> str:
        """The last model stage."""
        return list(self.stages)[-1]

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds of the models, ascending."""
        return sorted({model.seed for model in self.evaluations})

    @cached_property
    def domains(self) -> list[str]:
        """The sets of images that were evaluated, night and day first."""
        return domains(self.evaluations)

    @cached_property
    def picture_sets(self) -> list[str]:
        """The `domains` with pictures of their own, see `summary.picture_sets`."""
        return picture_sets(self.evaluations)

    @cached_property
    def scores(self) -> dict[str, dict[str, MeanScores]]:
        """Model stage -> set of images -> scores over seeds."""
        baseline = self.stages.get(BASELINE, [])
        return {
            stage: {
                domain: mean_scores(models, [] if stage == BASELINE else baseline, domain) for domain in domains(models)
            }
            for stage, models in self.stages.items()
        }

    @cached_property
    def by_statistics(self) -> list[ByStatistics]:
        """The scores by normalisation statistics, where they may matter: of each set, those of each model stage."""
        rows = [
            by_statistics(models, domain, stage_title(stage))
            for domain in self.domains
            for stage, models in self.stages.items()
        ]
        return [row for row in rows if row and row.may_matter]

    @cached_property
    def class_scores(self) -> dict[str, dict[str, ClassScores]]:
        """Model stage -> set of images -> class -> mean IoU over the seeds in which it has one."""
        return {
            stage: {domain: _class_means(models, domain) for domain in self.domains}
            for stage, models in self.stages.items()
        }

    @cached_property
    def class_changes(self) -> dict[str, dict[str, dict[str, float]]]:
        """Model stage -> set of images -> class -> mean IoU less that of source-only, where both have one."""
        if BASELINE not in self.stages:
            return {stage: {domain: {} for domain in self.domains} for stage in self.stages}
        return {
            stage: {
                domain: _differences(self.class_scores[BASELINE][domain], by_domain[domain]) for domain in by_domain
            }
            for stage, by_domain in self.class_scores.items()
        }

    @cached_property
    def protocols(self) -> dict[str, list[str]]:
        """Set of images -> its distinct protocols; one where all models were evaluated alike."""
        return {domain: protocols(self.evaluations, domain) for domain in self.domains}

    @cached_property
    def unmeasured(self) -> list[str]:
        """A line for night and for day where no model was scored there: their labelled sets may be left out."""
        names = [name for name in ("night", "day") if not {name, f"{name}-test"} & {*self.domains}]
        return [f"{name}: not measured: there is no set {name}_val" for name in names]

    @cached_property
    def missing(self) -> list[str]:
        """What a full report has and this one lacks, in words."""
        return [*self._missing_scores(), *self._missing_records(), *self._missing_pictures()]

    def measured_stages(self, domain: str) -> list[str]:
        """The model stages that have scores on a set of images."""
        return [stage for stage in self.stages if domain in self.scores[stage]]

    def _is_loopda(self) -> bool:
        """False for baselines and ensembles, whose stages are others."""
        return not self.stages.keys() & {"adapt", "ensemble"}

    def _missing_scores(self) -> list[str]:
        expected = ("pretrain", "warmup", "self_train", "distill") if self._is_loopda() else ()
        lines = [f"scores of {stage_title(stage)}" for stage in expected if stage not in self.stages]
        for stage, models in self.stages.items():
            absent = [seed for seed in self.seeds if seed not in {model.seed for model in models}]
            lines += [f"scores of {stage_title(stage)}, {seed_list(absent)}"] if absent else []
            for domain in self.domains:
                without = [model.seed for model in models if domain not in model.domains]
                lines += [f"{domain} scores of {stage_title(stage)}, {seed_list(without)}"] if without else []
        return lines

    def _missing_records(self) -> list[str]:
        return [
            f"{name} of {stage_title(stage)}"
            for name, given in (
                ("learning curves", {run.origin.stage for run in self.metrics}),
                ("configuration", {configuration.origin.stage for configuration in self.configurations}),
            )
            for stage in self.stages
            if stage not in given
        ]

    def _missing_pictures(self) -> list[str]:
        lines = []
        for domain in self.picture_sets:
            pictured = {
                model.model_stage
                for model in self.evaluations
                if model.seed == self.seeds[0] and domain in model.domains and model.domains[domain].predictions
            }
            lines += [f"{domain} predictions of {stage_title(stage)}" for stage in self.stages if stage not in pictured]
        if not self._is_loopda():
            return lines
        drawn = self.illustrations
        if not any(one.panels for one in drawn):
            why = " (there is no outer loop, and the night images have no day references)" if drawn else ""
            lines.append(f"pictures of translations and pseudo-labels{why}")
        if not any(one.lor for one in drawn):
            why = " (the night images have no day references)" if drawn else ""
            lines.append(f"label overlap ratios{why}")
        if not any(one.thresholds for one in drawn):
            lines.append("thresholds and counts of the offline pseudo-labels")
        return lines


def one_experiment(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The evaluations in the order of the pipeline; DataError unless they are one model per stage and seed, and
    comparable."""
    if not evaluations:
        raise DataError("--scores names no file; a report needs the scores of at least one model")
    ordered = sorted(evaluations, key=lambda model: (stage_order(model.model_stage), model.seed))
    for model, other in pairwise(ordered):
        if (model.model_stage, model.seed) == (other.model_stage, other.seed):
            raise DataError(
                f"{model.read_from} and {other.read_from} are of different experiments, but both are"
                f" {model.model_stage} with seed {model.seed}; a report is about one experiment"
            )
    check_comparable(ordered)
    return ordered


def of_lowest_seed(illustrations: Sequence[Illustrations]) -> list[Illustrations]:
    """The illustrations of the lowest seed. The page shows pictures of one seed, and numbers over all."""
    return [of_seed for of_seed in illustrations if of_seed.seed == min(other.seed for other in illustrations)]


def _class_means(models: Sequence[Evaluation], domain: str) -> ClassScores:
    scored = [model.domains[domain].IoU for model in models if domain in model.domains]
    result = {}
    for name in models[0].classes:
        values = [scores[name] for scores in scored if scores[name] is not None]
        result[name] = spread(values)[0] if values else None
    return result


def _differences(before: ClassScores, after: ClassScores) -> dict[str, float]:
    return {name: after[name] - before[name] for name in before if before[name] is not None and after[name] is not None}
