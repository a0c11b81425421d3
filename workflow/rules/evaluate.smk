def model_of_stage(wildcards):
    return upstream(wildcards.stage, "model.pt")(wildcards)


rule evaluate:
    """Score one stage's model on night and day validation images, and keep its label maps."""
    input:
        config="results/evaluate/{experiment}/seed{seed}/config.yaml",
        model=model_of_stage,
        night_val=prepared("night_val.csv"),
        day_val=prepared("day_val.csv"),
        classes=prepared("classes.json"),
    output:
        scores="results/evaluate/{experiment}/seed{seed}/{stage}.json",
    log:
        "logs/evaluate/{experiment}/seed{seed}/{stage}.log",
    benchmark:
        "benchmarks/evaluate/{experiment}/seed{seed}/{stage}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        device=config["device"],
    shell:
        r"""
        python -m loopda.stages.evaluate \
            --config {input.config:q} \
            --model {input.model:q} \
            --night-val {input.night_val:q} \
            --day-val {input.day_val:q} \
            --classes {input.classes:q} \
            --scores {output.scores:q} \
            --seed {wildcards.seed} \
            --experiment {wildcards.experiment:q} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """
