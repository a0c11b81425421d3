# What the rules share: where files are, and what a stage is told. Nothing here reads a result or imports torch.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from loopda import vouch
from loopda.errors import ConfigError
from loopda.pipeline import comparisons, experiments
from loopda.pipeline.claims import claims
from loopda.pipeline.schema import read_schemas
from loopda.text.encoding import check_encoding, replace_what_cannot_be_shown
from loopda.text.strict_yaml import read_mapping, refuse_equal_keys

# Snakemake has read and merged the files of the configuration, and dropped what they say twice: read them again
try:
    if workflow.modifier.skip_configfile:  # a module's `config:` lies over config.yaml beside the Snakefile
        overlays = [config]
        config = experiments.laid_over(experiments.laid_over(config, base), config)
    else:
        overlays = [*map(read_mapping, workflow.overwrite_configfiles), workflow.config_settings.config]
    for path in workflow.configfiles:
        if path not in (base_file, *workflow.overwrite_configfiles) or workflow.modifier.skip_configfile:
            refuse_equal_keys(path)  # all that is our business in a file of another workflow
    config = experiments.of_files(config, base, overlays)
    check_encoding(config)
    experiments.check(config, read_schemas())
except ConfigError as error:
    raise WorkflowError(str(error)) from None

config = experiments.Settled({**config, experiments.CLAIMS: claims(config, Path())})

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
    """The input function of a rule that reads the file `name` of `stage`."""

    def path(wildcards):
        experiment = experiments.owner(config, wildcards.experiment, stage)
        return f"results/{stage}/{experiment}/seed{wildcards.seed}/{name}"

    return path


def manifest_file(experiment, data_set, name="{data_set}.csv"):
    """The path of a file that `manifest` writes of a set of `experiment`."""
    folder = experiments.owner_of_set(config, experiment, data_set)
    return f"results/manifest/{folder}/{name.format(data_set=data_set)}"


def manifest(data_set):
    """The input function of a rule that reads the manifest of a set; nothing where the experiment has no such set."""

    def path(wildcards):
        known = experiments.sets(config, wildcards.experiment)
        return manifest_file(wildcards.experiment, data_set) if data_set in known else []

    return path


def classes(wildcards):
    """The class list, which lies beside each manifest of an experiment."""
    known = experiments.sets(config, wildcards.experiment)
    first = next(name for name in ("source", *known) if name in known)
    return manifest_file(wildcards.experiment, first, "{data_set}/classes.json")


class NotAncient:
    """Of the jobs of a DAG, those behind each that run where it runs: without those that only wait for it."""

    def __init__(self, depending):
        self.depending = depending

    def __getitem__(self, job):
        behind = self.depending[job].items()
        return {after: files for after, files in behind if not all(file.is_ancient for file in files)}


def ask_what_only_waits():
    """Have Snakemake ask jobs that only wait for another (`ancient`) whether they have to run. It does not, where that
    one runs, and does not run them for it either: after a change of the data, `snakemake compare` would check them and
    make nothing."""
    dag = workflow.dag
    if "bfs" not in vars(dag):
        bfs = dag.bfs
        dag.bfs = lambda direction, *jobs, **stop: bfs(
            NotAncient(direction) if direction is dag.depending else direction, *jobs, **stop
        )


def when_checked(wildcards):
    """What a training waits for: the data are checked, all sets together. It does not run again for that."""
    ask_what_only_waits()
    return ancient(f"results/prepare/{wildcards.experiment}/checked")


def paired_night(wildcards):
    """The night manifest of self-training: with the references that `pair` finds, where that is enabled."""
    if experiments.pairs(config, wildcards.experiment):
        return upstream("pair", "night.csv")(wildcards)
    return manifest("night")(wildcards)


def translated_source(wildcards):
    """The manifest of translated day images, for a method that learns from them."""
    wanted = experiments.translates(config, wildcards.experiment)
    return upstream("translate", "source.csv")(wildcards) if wanted else []


def set_section(experiment, *data_set):
    """What the stage `manifest` is told of a set; refused where the town's and others' images are mixed."""
    if faults := experiments.faults_of_data(config, experiment):
        raise WorkflowError("\n".join(f"configuration: {fault} (experiment {experiment})" for fault in faults))
    return experiments.set_section(config, experiment, "/".join(data_set))


def section_text(wildcards):
    """The resolved section for results/<folder>/config.yaml, as YAML."""
    stage, *experiment = wildcards.folder.split("/")
    if stage in experiments.COMPARISONS:
        return experiments.as_yaml(comparisons.table(config, stage))
    if stage == "manifest":
        return experiments.as_yaml(set_section(*experiment))
    experiment = experiment[0] if experiment else next(iter(config["experiments"]))
    return experiments.as_yaml(experiments.section(config, experiment, stage))


# what stands before the command of a stage that several processes share; no parameter of its rule, for results are the
# same, so that nothing runs again for it
launch = {
    stage: f"torchrun --standalone --nproc-per-node {count} --shutdown-timeout 120 --no-python -- " if count > 1 else ""
    for stage in experiments.SHARED_STAGES
    for count in [experiments.processes(config, stage)]
}
# Snakemake fills in the commands of a module's rules with the names of the workflow that uses it
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
    """No file: has `configure` run where what it wrote is no longer the section, even where Snakemake has no record of
    what it wrote it from, as of results that came from elsewhere."""
    written = Path(f"results/{wildcards.folder}/config.yaml")
    if written.exists() and written.read_text(encoding="utf-8", errors="replace") != section_text(wildcards):
        workflow.dag.forcefiles.add(str(written))
    return []


rule configure:
    """Write a stage's resolved section beside its result: the stage runs again when this file's content changes."""
    input:
        forced_where_changed,
    output:
        "results/{folder}/config.yaml",
    params:
        section=section_text,
    shell:
        r"printf '%s' {params.section:q} > {output:q}"


def show_tables():
    """Print what the finished run shows: the newest table of each experiment of `run`, and where its page is."""
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
