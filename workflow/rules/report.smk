def scores_of(experiment, seeds):
    """The scores of every model stage of an experiment, for each of `seeds`."""
    paths = []
    for stage in experiments.model_stages(config, experiment):
        folder = experiments.scored_as(config, experiment, stage)
        paths += [f"results/evaluate/{folder}/seed{seed}/{stage}.json" for seed in seeds]
    return paths


def seeded(experiment, stages, name):
    """The file `name` of each of `stages`, for every seed of the run."""
    return [
        f"results/{stage}/{experiments.owner(config, experiment, stage)}/seed{seed}/{name}"
        for stage in stages
        for seed in config["seeds"]
    ]


def report_scores(wildcards):
    return scores_of(wildcards.experiment, config["seeds"])


def report_metrics(wildcards):
    return seeded(wildcards.experiment, experiments.training_stages(config, wildcards.experiment), "metrics.jsonl")


def report_sections(wildcards):
    stages = experiments.training_stages(config, wildcards.experiment)
    data = experiments.owner(config, wildcards.experiment, "prepare")
    return [f"results/prepare/{data}/config.yaml", *seeded(wildcards.experiment, stages, "config.yaml")]


def report_data(wildcards):
    return f"results/prepare/{experiments.owner(config, wildcards.experiment, 'prepare')}/summary.json"


def report_pictures(wildcards):
    stages = experiments.model_stages(config, wildcards.experiment)
    if "self_train" not in stages:
        return []
    return seeded(wildcards.experiment, ["illustrate"], "illustrations.json")


def report_pairs(name):
    """The input function for the file `name` of `pair`, of the seed whose pictures the page shows; none without pairs."""

    def path(wildcards):
        stages = experiments.model_stages(config, wildcards.experiment)
        pairs = "pair" in experiments.parents(config, wildcards.experiment, "pseudo_labels")
        if not pairs or "self_train" not in stages:
            return []
        folder = experiments.owner(config, wildcards.experiment, "pair")
        return f"results/pair/{folder}/seed{min(config['seeds'])}/{name}"

    return path


def table_scores(wildcards):
    """The scores of the experiments that a table's name lists; a shared stage occurs once, under its owner."""
    if names.bounded(wildcards.names) != wildcards.names:
        raise WorkflowError(f"results/tables/{wildcards.names}.md: this name is too long for a file; name fewer")
    listed = config["run"] if wildcards.names == names.joined(config["run"]) else wildcards.names.split("+")
    paths = [path for name in listed for path in scores_of(name, config["table_seeds"])]
    return list(dict.fromkeys(paths))


def compared_scores(wildcards):
    return [
        f"results/evaluate/{model.experiment}/seed{seed}/{model.stage}.json"
        for model in comparisons.models(config, wildcards.comparison)
        for seed in config["table_seeds"]
    ]


def trained_for(comparison):
    """stage/experiment/seed of every training behind the rows of a comparison."""
    models = comparisons.models(config, comparison)
    behind = dict.fromkeys(one for model in models for one in comparisons.trained(config, model))
    return [f"{one.stage}/{one.experiment}/seed{seed}" for one in behind for seed in config["table_seeds"]]


def compared_metrics(wildcards):
    return [f"results/{place}/metrics.jsonl" for place in trained_for(wildcards.comparison)]


def compared_benchmarks(wildcards):
    """What Snakemake measured of each training; no input, for nothing is to be trained again for a lost one."""
    return [f"benchmarks/{place}.tsv" for place in trained_for(wildcards.comparison)]


def poses_if_known(wildcards):
    night = experiments.sets(config, wildcards.experiment).get("night")
    return "results/town/poses.csv" if experiments.uses_town(night) else []


rule illustrate:
    """Draw translations, reconstructions, pseudo-labels and agreements, and count label overlap ratios."""
    input:
        config="results/illustrate/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        loops=upstream("warmup", "loops.pt"),
        labels=upstream("pseudo_labels", "labels.csv"),
        statistics=upstream("pseudo_labels", "statistics.json"),
        source=manifest("source"),
        night=paired_night,
        classes=classes,
        poses=poses_if_known,
    output:
        illustrations="results/illustrate/{experiment}/seed{seed}/illustrations.json",
    log:
        "logs/illustrate/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/illustrate/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        device=config["device"],
    shell:
        r"""
        python -m loopda.stages.illustrate \
            --config {input.config:q} \
            --warmed-up {input.warmed_up:q} \
            --loops {input.loops:q} \
            --labels {input.labels:q} \
            --statistics {input.statistics:q} \
            --source {input.source:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --poses {input.poses:q} \
            --illustrations {output.illustrations:q} \
            --seed {wildcards.seed} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """


rule report:
    """One self-contained page about an experiment, and the table that the terminal shows."""
    input:
        config="results/report/{experiment}/config.yaml",
        scores=report_scores,
        metrics=report_metrics,
        pictures=report_pictures,
        ranking=report_pairs("ranking.json"),
        sheet=report_pairs("contact_sheet.png"),
        sections=report_sections,
        data=report_data,
    output:
        page="results/report/{experiment}/report.html",
        table="results/report/{experiment}/table.txt",
    log:
        "logs/report/{experiment}.log",
    benchmark:
        "benchmarks/report/{experiment}.tsv"
    shell:
        r"""
        python -m loopda.stages.report \
            --config {input.config:q} \
            --scores {input.scores:q} \
            --metrics {input.metrics:q} \
            --pictures {input.pictures:q} \
            --ranking {input.ranking:q} \
            --sheet {input.sheet:q} \
            --sections {input.sections:q} \
            --data {input.data:q} \
            --page {output.page:q} \
            --table {output.table:q} \
            --log {log:q}
        """


rule table:
    """Mean and spread over `table_seeds` of some experiments, as Markdown and CSV."""
    input:
        scores=table_scores,
    output:
        table="results/tables/{names}.md",
        csv="results/tables/{names}.csv",
    log:
        "logs/tables/{names}.log",
    benchmark:
        "benchmarks/tables/{names}.tsv"
    shell:
        r"""
        python -m loopda.stages.seeds \
            --scores {input.scores:q} \
            --table {output.table:q} \
            --csv {output.csv:q} \
            --log {log:q}
        """


rule comparison:
    """The models of a list of config.yaml side by side over `table_seeds`, beside what was published: a page, a table."""
    input:
        config="results/{comparison}/config.yaml",
        scores=compared_scores,
        metrics=compared_metrics,
    output:
        page="results/{comparison}/report.html",
        table="results/{comparison}/table.md",
        csv="results/{comparison}/table.csv",
    log:
        "logs/comparison/{comparison}.log",
    benchmark:
        "benchmarks/comparison/{comparison}.tsv"
    wildcard_constraints:
        comparison="|".join(experiments.COMPARISONS),
    params:
        benchmarks=compared_benchmarks,
    shell:
        r"""
        python -m loopda.stages.compare \
            --config {input.config:q} \
            --scores {input.scores:q} \
            --metrics {input.metrics:q} \
            --benchmarks {params.benchmarks:q} \
            --page {output.page:q} \
            --table {output.table:q} \
            --csv {output.csv:q} \
            --log {log:q}
        """
