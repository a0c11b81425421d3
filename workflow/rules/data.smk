rule town:
    """Build the town: day and night driving scenes in the layouts of Cityscapes and Dark Zurich."""
    input:
        config="results/town/config.yaml",
    output:
        summary="results/town/town.json",
        poses="results/town/poses.csv",
        oracle="results/town/oracle/night.csv",
        sheet="results/town/contact_sheet.png",
    log:
        "logs/town.log",
    benchmark:
        "benchmarks/town.tsv"
    threads: 8
    shell:
        stage_command(
            "town",
            inputs("config"),
            outputs("summary poses oracle sheet"),
            "--workers {threads}",
        )


def town_if_used(wildcards):
    layout = experiments.sets(config, wildcards.experiment)[wildcards.data_set]
    if experiments.uses_town(layout, "oracle/"):
        return "results/town/oracle/night.csv"
    return "results/town/town.json" if experiments.uses_town(layout) else []


def lists_of_set(wildcards):
    """The user's files that list the images of a set and its classes: the manifest is made again when they change."""
    section = experiments.set_section(config, wildcards.experiment, wildcards.data_set)
    named = [section["classes"], *(section["images"].get(key) for key in ("csv", "names", "pairs"))]
    return [path for path in named if path and Path(path).is_file() and not path.startswith(experiments.TOWN)]


rule manifest:
    """Check every image and label of one data set of an experiment, and write its manifest."""
    input:
        lists_of_set,
        config="results/manifest/{experiment}/{data_set}/config.yaml",
        town=town_if_used,
    output:
        manifest="results/manifest/{experiment}/{data_set}.csv",
        references="results/manifest/{experiment}/{data_set}/references.csv",
        classes="results/manifest/{experiment}/{data_set}/classes.json",
        found="results/manifest/{experiment}/{data_set}/found.json",
    log:
        "logs/manifest/{experiment}/{data_set}.log",
    benchmark:
        "benchmarks/manifest/{experiment}/{data_set}.tsv"
    threads: 4
    shell:
        stage_command(
            "manifest",
            inputs("config town"),
            outputs("manifest references classes found"),
            "--workers {threads}",
        )


def sets_of_experiment(wildcards):
    return [
        manifest_file(wildcards.experiment, name, "{data_set}/found.json")
        for name in experiments.sets(config, wildcards.experiment)
    ]


rule prepare:
    """Check the data sets of an experiment against each other, and draw a contact sheet of them."""
    input:
        config="results/prepare/{experiment}/config.yaml",
        found=sets_of_experiment,
    output:
        classes="results/prepare/{experiment}/classes.json",
        summary="results/prepare/{experiment}/summary.json",
        sheet="results/prepare/{experiment}/contact_sheet.png",
    log:
        "logs/prepare/{experiment}.log",
    benchmark:
        "benchmarks/prepare/{experiment}.tsv"
    threads: 4
    shell:
        stage_command(
            "prepare",
            inputs("config found"),
            outputs("classes summary sheet"),
            "--workers {threads}",
        )


def summaries_before(wildcards):
    names = experiments.checked_with(config, wildcards.experiment)
    return [f"results/prepare/{name}/summary.json" for name in names]


rule checked:
    """Mark that the data of all experiments of `run` which share a training with this one have been checked."""
    input:
        summaries_before,
    output:
        touch("results/prepare/{experiment}/checked"),
