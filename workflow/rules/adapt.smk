rule translate:
    """Translate labelled day images to night, and write them as a source data set (CyCADA)."""
    input:
        when_checked,
        config="results/translate/{experiment}/seed{seed}/config.yaml",
        pretrained=upstream("pretrain", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        translated="results/translate/{experiment}/seed{seed}/source.csv",
        generators="results/translate/{experiment}/seed{seed}/generators.pt",
        metrics="results/translate/{experiment}/seed{seed}/metrics.jsonl",
        sheet="results/translate/{experiment}/seed{seed}/contact_sheet.png",
    log:
        "logs/translate/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/translate/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "translate"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "translate",
            inputs("config pretrained source night classes"),
            outputs("translated generators metrics sheet"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )


rule adapt:
    """Adapt the source-only model by one of the methods that LoopDA is compared with."""
    input:
        when_checked,
        config="results/adapt/{experiment}/seed{seed}/config.yaml",
        pretrained=upstream("pretrain", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
        translated=translated_source,
    output:
        model="results/adapt/{experiment}/seed{seed}/model.pt",
        metrics="results/adapt/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/adapt/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/adapt/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "adapt"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "adapt",
            inputs("config pretrained source night classes translated"),
            outputs("model metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )
