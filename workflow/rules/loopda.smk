rule warmup:
    """Train inner and outer self-loops on labelled day, night and day reference images (section 3.1)."""
    input:
        when_checked,
        config="results/warmup/{experiment}/seed{seed}/config.yaml",
        pretrained=upstream("pretrain", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/warmup/{experiment}/seed{seed}/model.pt",
        loops="results/warmup/{experiment}/seed{seed}/loops.pt",
        metrics="results/warmup/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/warmup/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/warmup/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "warmup"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "warmup",
            inputs("config pretrained source night classes"),
            outputs("model loops metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )


def day_candidates(wildcards):
    """The day images that `pair` searches: the set `day`, or else the references of `night`, or else `source`."""
    if "day" in experiments.sets(config, wildcards.experiment):
        return manifest("day")(wildcards)
    references = manifest_file(wildcards.experiment, "night", "{data_set}/references.csv")
    return [references, manifest("source")(wildcards)]


rule pair:
    """Find day references for night images by the label overlap ratio of their predictions (section 4.4)."""
    input:
        config="results/pair/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        night=manifest("night"),
        day=day_candidates,
        classes=classes,
    output:
        paired="results/pair/{experiment}/seed{seed}/night.csv",
        pairs="results/pair/{experiment}/seed{seed}/pairs.csv",
        ranking="results/pair/{experiment}/seed{seed}/ranking.json",
        sheet="results/pair/{experiment}/seed{seed}/contact_sheet.png",
    log:
        "logs/pair/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/pair/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=1,
    params:
        device=config["device"],
    shell:
        stage_command(
            "pair",
            inputs("config warmed_up night day classes"),
            outputs("paired pairs ranking sheet"),
            "--device {params.device} --threads {threads}",
        )


rule pseudo_labels:
    """Predict pseudo-labels of night images and day references, with a threshold for each class."""
    input:
        config="results/pseudo_labels/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        night=paired_night,
        classes=classes,
    output:
        labels="results/pseudo_labels/{experiment}/seed{seed}/labels.csv",
        statistics="results/pseudo_labels/{experiment}/seed{seed}/statistics.json",
    log:
        "logs/pseudo_labels/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/pseudo_labels/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "pseudo_labels"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "pseudo_labels",
            inputs("config warmed_up night classes"),
            outputs("labels statistics"),
            "--device {params.device} --threads {threads}",
        )


rule self_train:
    """Co-teach with pseudo-labels and Day-Night Agreement, with all loops (section 3.2)."""
    input:
        when_checked,
        config="results/self_train/{experiment}/seed{seed}/config.yaml",
        warmed_up=upstream("warmup", "model.pt"),
        loops=upstream("warmup", "loops.pt"),
        labels=upstream("pseudo_labels", "labels.csv"),
        source=manifest("source"),
        night=paired_night,
        classes=classes,
    output:
        model="results/self_train/{experiment}/seed{seed}/model.pt",
        metrics="results/self_train/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/self_train/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/self_train/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "self_train"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "self_train",
            inputs("config warmed_up loops labels source night classes"),
            outputs("model metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )


rule distill:
    """Distill the self-trained teacher into a self-supervised student at night (section 4.2)."""
    input:
        when_checked,
        config="results/distill/{experiment}/seed{seed}/config.yaml",
        teacher=upstream("self_train", "model.pt"),
        student=upstream("simclr", "model.pt"),
        source=manifest("source"),
        night=manifest("night"),
        classes=classes,
    output:
        model="results/distill/{experiment}/seed{seed}/model.pt",
        metrics="results/distill/{experiment}/seed{seed}/metrics.jsonl",
    log:
        "logs/distill/{experiment}/seed{seed}.log",
    benchmark:
        "benchmarks/distill/{experiment}/seed{seed}.tsv"
    threads: 8
    resources:
        gpu=experiments.processes(config, "distill"),
    params:
        device=config["device"],
    shell:
        stage_command(
            "distill",
            inputs("config teacher student source night classes"),
            outputs("model metrics"),
            "--seed {wildcards.seed} --device {params.device} --threads {threads}",
        )
