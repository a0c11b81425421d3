def model_of_stage(wildcards):
    return upstream(wildcards.stage, "model.pt")(wildcards)


def models_of_stage(wildcards):
    """The model to evaluate; of an ensemble, the last model of each member."""
    made_by = jobs.models(wildcards.experiment, wildcards.stage, int(wildcards.seed))
    return [f"{job.folder}/model.pt" for job in made_by]


def night_tests(wildcards):
    """The manifests of the sets in `data.night_tests`, on which models are scored too."""
    measured = experiments.reads(config, wildcards.experiment, "evaluate")
    return [manifest_file(wildcards.experiment, name) for name in measured if name.startswith(experiments.TESTS)]


def section_of_submission(wildcards):
    section = experiments.section(config, wildcards.experiment, "submission")
    return {key: "" if value is None else value for key, value in section.items()}


def submissions(wildcards):
    """The zips of every experiment of `run` whose section `submission` names a root of test images, for every seed."""
    return [file for job in jobs.submissions() for file in job.files]


rule evaluate:
    """Score one stage's model on night and day images of validation and test, and keep its label maps."""
    input:
        config="results/evaluate/{experiment}/seed{seed}/config.yaml",
        model=models_of_stage,
        night_val=manifest("night_val"),
        day_val=manifest("day_val"),
        night_test=manifest("night_test"),
        day_test=manifest("day_test"),
        night_tests=night_tests,
        classes=classes,
    output:
        scores="results/evaluate/{experiment}/seed{seed}/{stage}.json",
    log:
        "logs/evaluate/{experiment}/seed{seed}/{stage}.log",
    benchmark:
        "benchmarks/evaluate/{experiment}/seed{seed}/{stage}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "evaluate"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "evaluate",
            inputs("config model night_val day_val night_test day_test night_tests classes"),
            outputs("scores"),
            "--seed {wildcards.seed} --experiment {wildcards.experiment:q}",
            "--device {params.device} --threads {threads}",
        )


rule submission:
    """Make and check the zip of one stage's predictions for the test server of Dark Zurich."""
    input:
        model=model_of_stage,
    output:
        out="results/submission/{experiment}/seed{seed}/{stage}.zip",
    log:
        "logs/submission/{experiment}/seed{seed}/{stage}.log",
    benchmark:
        "benchmarks/submission/{experiment}/seed{seed}/{stage}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        section=section_of_submission,
        device=config["device"],
    shell:
        r"""
        python -m loopda.stages.submission \
            --root {params.section[root]:q} \
            --out {output.out:q} \
            --model {input.model:q} \
            --names {params.section[names]} \
            --invalid-below {params.section[invalid_below]} \
            --size {params.section[size]:q} \
            --tile {params.section[tile]:q} \
            --overlap {params.section[overlap]} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """
