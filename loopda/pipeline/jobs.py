"""The jobs of the workflow, as its rules define them: the outputs of each, its log, and the jobs whose files it needs.

Nothing heavy is imported, and no file is read.
"""

from collections.abc import Iterable
from typing import NamedTuple

from loopda.pipeline import comparisons, experiments, search
from loopda.pipeline.experiments import COMPARISONS, SEARCH
from loopda.pipeline.merging import Config
from loopda.pipeline.stages import ENSEMBLE, STAGES

COMPARISON_OUTPUTS = ("report.html", "table.md", "table.csv")  # of the rule of each list, in results/<list>
SEARCH_OUTPUTS = (*COMPARISON_OUTPUTS, "best.yaml")


class Job(NamedTuple):
    """A job: a stage with the experiment and the seed, as far as the stage has them.

    stage: a stage, or the name of a comparison or `search`, which have neither experiment nor seed. model: the stage
    whose model `evaluate` or `submission` reads. data_set: the set of images that `manifest` checks.
    """

    stage: str
    experiment: str = ""
    seed: int | None = None
    model: str = ""
    data_set: str = ""

    @property
    def wildcards(self) -> list[str]:
        """The values of the wildcards of its rule, in their order."""
        seed = "" if self.seed is None else str(self.seed)
        return [value for value in (self.experiment, seed, self.model, self.data_set) if value]

    @property
    def place(self) -> str:
        """The path of its log below logs/ and of its benchmark below benchmarks/, without a suffix."""
        seed = "" if self.seed is None else f"seed{self.seed}"
        return "/".join(part for part in (self.stage, self.experiment, seed, self.model, self.data_set) if part)

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return f"results/{self._replace(model='', data_set='').place}"

    @property
    def files(self) -> list[str]:
        """The outputs of its rule."""
        if self.stage in STAGES:
            return [self._path(name) for name in STAGES[self.stage].outputs]
        return [self._path(name) for name in (SEARCH_OUTPUTS if self.stage == SEARCH else COMPARISON_OUTPUTS)]

    @property
    def recorded(self) -> str:
        """The output beside which the record of its inputs lies (`loopda.runtime.provenance`)."""
        return self._path(STAGES[self.stage].recorded) if self.stage in STAGES else self.files[0]

    @property
    def benchmark(self) -> str:
        """The file in which Snakemake writes how long it took."""
        return f"benchmarks/{self.place}.tsv"

    @property
    def config(self) -> str:
        """The file with the resolved section of the job."""
        return "/".join(part for part in (self.folder, self.data_set, "config.yaml") if part)

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name.format(model=self.model, data_set=self.data_set)}"


class Jobs:
    """The jobs of the configuration `config`."""

    def __init__(self, config: Config):
        self.config = config

    def of_target(self, target: str) -> list[Job]:
        """The last jobs of a target: all (what `snakemake` makes by itself), a comparison, search, or an experiment."""
        run, seeds = self.config["run"], self.config["seeds"]
        if target == "all":
            return [Job("report", name) for name in run] + self.submissions()
        return [Job(target)] if target in (*COMPARISONS, SEARCH) else self.scores(target, seeds)

    def of_experiment(self, experiment: str) -> list[Job]:
        """The last jobs of `experiment`, for every seed of `seeds` and `table_seeds`."""
        seeds = dict.fromkeys([*self.config["seeds"], *self.config["table_seeds"]])
        return self.scores(experiment, seeds)

    def with_ancestors(self, targets: Iterable[Job]) -> dict[Job, list[Job]]:
        """Job -> the jobs that it needs, for `targets` and all that they depend on; each job after its needs."""
        found: dict[Job, list[Job]] = {}

        def visit(job: Job) -> None:
            if job not in found:
                needs = self.needs(job)
                for need in needs:
                    visit(need)
                found[job] = needs

        for job in targets:
            visit(job)
        return found

    def needs(self, job: Job) -> list[Job]:
        """The jobs whose files `job` reads."""
        stage, experiment, seed, model, data_set = job
        if stage in COMPARISONS:
            rows = comparisons.models(self.config, stage)
            seeds = self.config["table_seeds"]
            return [Job("evaluate", row.experiment, number, row.stage) for row in rows for number in seeds]
        if stage == SEARCH:
            scored = [
                Job("evaluate", folder, number, last)
                for _, last, folder in search.models(self.config)
                for number in self.config[SEARCH]["seeds"]
            ]
            return list(dict.fromkeys(scored))
        if stage == "report":
            seeds = self.config["seeds"]
            pictures = "self_train" in experiments.model_stages(self.config, experiment)
            drawn = [self._owned(experiment, "illustrate", number) for number in seeds if pictures]
            return [*self.scores(experiment, seeds), *drawn, self._owned(experiment, "prepare", None)]
        if stage == "manifest":
            layout = experiments.sets(self.config, experiment)[data_set]
            return [Job("town")] if experiments.uses_town(layout) else []
        models = self.models(experiment, model, seed) if model else []
        checkers = experiments.checked_with(self.config, experiment) if STAGES[stage].trains else []
        checked = [Job("prepare", name) for name in checkers]
        manifests = [
            Job("manifest", experiments.owner_of_set(self.config, experiment, name), data_set=name)
            for name in experiments.reads(self.config, experiment, stage)
        ]
        parents = experiments.parents_read(self.config, experiment, stage)
        made_of = [self._owned(experiment, parent, seed) for parent in parents if parent != "manifest"]
        return [*models, *checked, *manifests, *made_of]

    def scores(self, experiment: str, seeds: Iterable[int]) -> list[Job]:
        """The evaluations of every model of `experiment`."""
        stages = experiments.model_stages(self.config, experiment)
        folders = {stage: experiments.scored_as(self.config, experiment, stage) for stage in stages}
        return [Job("evaluate", folders[stage], seed, stage) for seed in seeds for stage in stages]

    def section_text(self, job: Job) -> str:
        """The text of the config.yaml beside the results of `job`, as the rule `configure` writes it."""
        if job.stage in COMPARISONS:
            return experiments.as_yaml(comparisons.table(self.config, job.stage))
        if job.stage == SEARCH:
            return experiments.as_yaml(search.table(self.config))
        if job.stage == "manifest":
            return experiments.as_yaml(experiments.set_section(self.config, job.experiment, job.data_set))
        experiment = job.experiment or next(iter(self.config["experiments"]))
        return experiments.as_yaml(experiments.section(self.config, experiment, job.stage))

    def models(self, experiment: str, model: str, seed: int) -> list[Job]:
        """The jobs that make the model of the stage `model`; for an ensemble, the last model of each member."""
        if model != ENSEMBLE:
            return [self._owned(experiment, model, seed)]
        members = experiments.members(self.config, experiment)
        return [self._owned(member, experiments.model_stages(self.config, member)[-1], seed) for member in members]

    def submissions(self) -> list[Job]:
        """The zips for the test server of the experiments of `run` whose section names a root of the test images."""
        found = []
        for experiment in self.config["run"]:
            section = experiments.section(self.config, experiment, "submission")
            stages = [name for name in section["stages"] if name in experiments.model_stages(self.config, experiment)]
            seeds = self.config["seeds"] if section["root"] else []
            found += [Job("submission", experiment, seed, stage) for seed in seeds for stage in stages]
        return found

    def _owned(self, experiment: str, stage: str, seed: int | None) -> Job:
        """The job of `stage` for `experiment`, under the experiment that owns its results."""
        return Job(stage, experiments.owner(self.config, experiment, stage), seed if STAGES[stage].seeded else None)
