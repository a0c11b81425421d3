from loopda.pipeline.stages import stage_order


def seeded(experiment, stages, name):
    """The file `name` of each of `stages`, for every seed of the run."""
    return [
        f"results/{stage}/{experiments.owner(config, experiment, stage)}/seed{seed}/{name}"
        for stage in stages
        for seed in config["seeds"]
    ]


def report_scores(wildcards):
    by_stage = sorted(jobs.scores(wildcards.experiment, config["seeds"]), key=lambda job: stage_order(job.model))
    return [file for job in by_stage for file in job.files]


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
    """The input function for the file `name` of `pair`, of the seed whose pictures are shown; no file without pairs."""

    def path(wildcards):
        stages = experiments.model_stages(config, wildcards.experiment)
        pairs = "pair" in experiments.parents(config, wildcards.experiment, "pseudo_labels")
        if not pairs or "self_train" not in stages:
            return []
        folder = experiments.owner(config, wildcards.experiment, "pair")
        return f"results/pair/{folder}/seed{min(config['seeds'])}/{name}"

    return path


def compared_scores(comparison):
    """The input function for the scores of every row of a comparison."""

    def paths(wildcards):
        return [file for job in jobs.needs(Job(comparison)) for file in job.files]

    return paths


def search_scores(wildcards):
    """The validation scores of every trial."""
    return [file for job in jobs.needs(Job(experiments.SEARCH)) for file in job.files]


def compared_trainings(comparison, path):
    """The input function for the file `path` of every training behind the rows; {training}: stage/experiment/seed."""

    def paths(wildcards):
        rows = comparisons.models(config, comparison)
        trained = dict.fromkeys(training for model in rows for training in comparisons.trained(config, model))
        return [
            path.format(training=f"{training.stage}/{training.experiment}/seed{seed}")
            for training in trained
            for seed in config["table_seeds"]
        ]

    return paths


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
        stage_command(
            "illustrate",
            inputs("config warmed_up loops labels statistics source night classes poses"),
            outputs("illustrations"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )


rule report:
    """Write a self-contained page about an experiment, and the table that the terminal shows."""
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
        stage_command(
            "report",
            inputs("config scores metrics pictures ranking sheet sections data"),
            outputs("page table"),
        )


for comparison in experiments.COMPARISONS:

    rule:
        """Compare the models of the list of this name over `table_seeds`: a page and its tables."""
        name:
            comparison
        input:
            config=f"results/{comparison}/config.yaml",
            scores=compared_scores(comparison),
            metrics=compared_trainings(comparison, "results/{training}/metrics.jsonl"),
        output:
            page=f"results/{comparison}/report.html",
            table=f"results/{comparison}/table.md",
            csv=f"results/{comparison}/table.csv",
        log:
            f"logs/{comparison}.log",
        benchmark:
            f"benchmarks/{comparison}.tsv"
        params:
            # what Snakemake measured: no input, for nothing is to be trained again for a measurement that is lost
            benchmarks=compared_trainings(comparison, "benchmarks/{training}.tsv"),
        shell:
            stage_command(
                "compare",
                inputs("config scores metrics"),
                "--benchmarks {params.benchmarks:q}",
                outputs("page table csv"),
            )


rule search:
    """Compare the trials of every grid of `search` by their validation scores: a page, its tables, the best settings."""
    input:
        config="results/search/config.yaml",
        scores=search_scores,
    output:
        page="results/search/report.html",
        table="results/search/table.md",
        csv="results/search/table.csv",
        best="results/search/best.yaml",
    log:
        "logs/search.log",
    benchmark:
        "benchmarks/search.tsv"
    shell:
        stage_command(
            "search",
            inputs("config scores"),
            outputs("page table csv best"),
        )
