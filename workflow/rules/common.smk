# What the rules share: the checked configuration, the paths of files, and the commands of stages. This file is parsed
# again for every job on a cluster, so it reads no result and imports nothing heavy.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from loopda import vouch
from loopda.errors import ConfigError
from loopda.pipeline import comparisons, configuration, experiments
from loopda.pipeline.checking.data import faults_of_data
from loopda.pipeline.jobs import Job, Jobs
from loopda.pipeline.merging import merged_by_key
from loopda.pipeline.stages import DISTRIBUTED_STAGES
from loopda.text.encoding import check_encoding, replace_what_cannot_be_shown
from loopda.text.strict_yaml import read_mapping, refuse_equal_keys

# Snakemake has merged the configuration files. Of a key that occurs twice in a file it keeps the last and says nothing,
# so the files are read again.
try:
    if workflow.modifier.skip_configfile:  # a module's `config:` lies over config.yaml beside the Snakefile
        overlays = [config]
        config = merged_by_key(merged_by_key(config, base), config)
    else:
        overlays = [*map(read_mapping, workflow.overwrite_configfiles), workflow.config_settings.config]
    for path in workflow.configfiles:
        if path not in (base_file, *workflow.overwrite_configfiles) or workflow.modifier.skip_configfile:
            refuse_equal_keys(path)  # a file of another workflow: its other faults are not ours to find
    check_encoding(config)
    config = configuration.checked(config, base, overlays)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

jobs = Jobs(config)

if vouch.copied_without_times(config):
    raise WorkflowError(
        "results/: copied without their times and without .snakemake, so that finished models would be removed and"
        " trained again. Compare them with their records: python -m loopda.vouch, with the same --configfile,"
        " which makes them up to date; remove what it does not vouch for, and run this again. To make all anew, remove"
        " results/"
    )


wildcard_constraints:
    experiment=r"[\w.-]+",
    seed=r"\d+",
    stage=r"[a-z_]+",
    data_set=r"[a-z_]+(/[\w-]+)?",


def upstream(stage, name):
    """The input function for the file `name` of `stage`, in the folder of the experiment that owns the stage."""

    def path(wildcards):
        experiment = experiments.owner(config, wildcards.experiment, stage)
        return f"results/{stage}/{experiment}/seed{wildcards.seed}/{name}"

    return path


def manifest_file(experiment, data_set, name="{data_set}.csv"):
    """The path of a file that `manifest` writes about one data set of `experiment`."""
    folder = experiments.owner_of_set(config, experiment, data_set)
    return f"results/manifest/{folder}/{name.format(data_set=data_set)}"


def manifest(data_set):
    """The input function for the manifest of a data set; no file if the experiment has no such set."""

    def path(wildcards):
        known = experiments.sets(config, wildcards.experiment)
        return manifest_file(wildcards.experiment, data_set) if data_set in known else []

    return path


def classes(wildcards):
    """The class list of an experiment. There is a copy beside each of its manifests."""
    known = experiments.sets(config, wildcards.experiment)
    first = next(name for name in ("source", *known) if name in known)
    return manifest_file(wildcards.experiment, first, "{data_set}/classes.json")


class NotAncient:
    """Stands in for `dag.depending` (job -> the jobs that read its files) and leaves out the jobs that read nothing but
    `ancient` files of it: they wait for the job, but need not run again when it does."""

    def __init__(self, depending):
        self.depending = depending

    def __getitem__(self, job):
        readers = self.depending[job].items()
        return {reader: files for reader, files in readers if not all(file.is_ancient for file in files)}


def check_jobs_behind_ancient_inputs():
    """Make Snakemake examine a job whose `ancient` input is made anew.

    Snakemake does not examine the jobs behind a job that will run, and does not run those behind an `ancient` file.
    After a change of the data, `snakemake compare` would check the data, train nothing and make no page.
    """
    dag = workflow.dag
    if "bfs" not in vars(dag):
        bfs = dag.bfs
        dag.bfs = lambda direction, *jobs, **stop: bfs(
            NotAncient(direction) if direction is dag.depending else direction, *jobs, **stop
        )


def when_checked(wildcards):
    """The marker that all data sets have been checked. Training waits for it, but does not run again because of it."""
    check_jobs_behind_ancient_inputs()
    return ancient(f"results/prepare/{wildcards.experiment}/checked")


def paired_night(wildcards):
    """The night manifest for self-training: with the day references that `pair` finds, if pairing is enabled."""
    if "pair" in experiments.parents(config, wildcards.experiment, "pseudo_labels"):
        return upstream("pair", "night.csv")(wildcards)
    return manifest("night")(wildcards)


def translated_source(wildcards):
    """The manifest of translated day images; no file for a method that does not learn from them."""
    wanted = "translate" in experiments.parents(config, wildcards.experiment, "adapt")
    return upstream("translate", "source.csv")(wildcards) if wanted else []


def section_text(wildcards):
    """The text of results/<folder>/config.yaml: the resolved section of its stage, as YAML."""
    stage, *rest = wildcards.folder.split("/")
    experiment = rest[0] if rest else ""
    if stage != "manifest":
        try:
            return jobs.section_text(Job(stage, experiment))
        except ConfigError as error:  # of a search that cannot be made
            raise WorkflowError(f"configuration: {error}") from None
    if faults := faults_of_data(config, experiment):  # it mixes images of the town with others
        raise WorkflowError("\n".join(f"configuration: {fault} (experiment {experiment})" for fault in faults))
    return jobs.section_text(Job(stage, experiment, data_set="/".join(rest[1:])))


# The start of the command of a stage that several processes share. It is not a parameter of the rule: the number of
# processes does not change the results, so a stage must not run again when it changes.
launch = {
    stage: f"torchrun --standalone --nproc-per-node {count} --shutdown-timeout 120 --no-python -- " if count > 1 else ""
    for stage in DISTRIBUTED_STAGES
    for count in [experiments.processes(config, stage)]
}
# Snakemake formats the commands of a module's rules with the global names of the workflow that uses the module.
if workflow.modifier_stack[0].globals.setdefault("launch", launch) != launch:
    raise WorkflowError("the name 'launch' is LoopDA's in a workflow that uses it as a module; choose another")


def inputs(names):
    """The flags for some inputs of a rule; each has the name of its input: `--warmed-up {input.warmed_up:q}`."""
    return file_flags("input", names)


def outputs(names):
    """The flags for some outputs of a rule; each has the name of its output: `--model {output.model:q}`."""
    return file_flags("output", names)


def file_flags(kind, names):
    return " ".join(f"--{name.replace('_', '-')} {{{kind}.{name}:q}}" for name in names.split())


def stage_command(stage, *flags):
    """The shell command that calls `stage`, one flag a line. Snakemake fills in what is in braces. It runs every job
    of the rule again where this text changes, even by a space."""
    start = f"{{launch[{stage}]}}" if stage in launch else ""
    command = f"{start}python -m loopda.stages.{stage} {' '.join(flags)} --log {{log:q}}"
    return "\n        " + command.replace(" --", " \\\n            --") + "\n        "


def forced_where_changed(wildcards):
    """No file. Forces `configure` to run if the section has changed since it was written: Snakemake alone would not
    notice that in results that were copied without its records."""
    written = Path(f"results/{wildcards.folder}/config.yaml")
    if written.exists() and written.read_text(encoding="utf-8", errors="replace") != section_text(wildcards):
        workflow.dag.forcefiles.add(str(written))
    return []


rule configure:
    """Write a stage's resolved section beside its result. The stage runs again when this file's content changes."""
    input:
        forced_where_changed,
    output:
        "results/{folder}/config.yaml",
    params:
        section=section_text,
    shell:
        r"printf '%s' {params.section:q} > {output:q}"


def show_tables():
    """Print the tables of the experiments of `run` that exist, and where their pages are."""
    from pathlib import Path

    replace_what_cannot_be_shown()
    for name in config["run"]:
        table = Path(f"results/report/{name}/table.txt")
        if table.exists():
            print("", table.read_text(encoding="utf-8"), sep="\n")
    table = Path("results/run/table.md")
    if table.exists():
        scores, *_ = table.read_text(encoding="utf-8").split("\n### ")  # without the tables of every class
        print("", scores, "report: results/run/report.html", sep="\n")
