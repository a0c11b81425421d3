rule adapt:
    """Go on from the source-only model by one of the methods that LoopDA is compared with."""
    input:
        config="results/adapt/{experiment}/seed{seed}/config.yaml",
        pretrained=upstream("pretrain", "model.pt"),
        source=prepared("source.csv"),
        night=prepared("night.csv"),
        classes=prepared("classes.json"),
    output:
        model="results/adapt/{experiment}/seed{seed}/model.pt",
        metrics="results/adapt/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/adapt/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/adapt/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        device=config["device"],
    shell:
        r"""
        python -m loopda.stages.adapt \
            --config {input.config:q} \
            --pretrained {input.pretrained:q} \
            --source {input.source:q} \
            --night {input.night:q} \
            --classes {input.classes:q} \
            --model {output.model:q} \
            --metrics {output.metrics:q} \
            --seed {wildcards.seed} \
            --device {params.device} \
            --threads {threads} \
            --log {log:q}
        """
