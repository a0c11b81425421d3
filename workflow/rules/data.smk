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
        r"""
        python -m loopda.stages.town \
            --config {input.config:q} \
            --summary {output.summary:q} \
            --poses {output.poses:q} \
            --oracle {output.oracle:q} \
            --sheet {output.sheet:q} \
            --workers {threads} \
            --log {log:q}
        """


def town_if_used(wildcards):
    data = experiments.section(config, wildcards.experiment, "prepare")
    places = [str(values) for values in data.values()]
    if any("results/town/oracle/" in place for place in places):
        return "results/town/oracle/night.csv"
    return "results/town/town.json" if any("results/town/" in place for place in places) else []


rule prepare:
    """Check every image and label of an experiment's data sets, and write their manifests."""
    input:
        config="results/prepare/{experiment}/config.yaml",
        town=town_if_used,
    output:
        source="results/prepare/{experiment}/source.csv",
        night="results/prepare/{experiment}/night.csv",
        day_val="results/prepare/{experiment}/day_val.csv",
        night_val="results/prepare/{experiment}/night_val.csv",
        day="results/prepare/{experiment}/day.csv",
        classes="results/prepare/{experiment}/classes.json",
        summary="results/prepare/{experiment}/summary.json",
        sheet="results/prepare/{experiment}/contact_sheet.png",
    log:
        "logs/prepare/{experiment}.log",
    benchmark:
        "benchmarks/prepare/{experiment}.tsv"
    threads: 4
    shell:
        r"""
        python -m loopda.stages.prepare \
            --config {input.config:q} \
            --town {input.town:q} \
            --source {output.source:q} \
            --night {output.night:q} \
            --day-val {output.day_val:q} \
            --night-val {output.night_val:q} \
            --day {output.day:q} \
            --classes {output.classes:q} \
            --summary {output.summary:q} \
            --sheet {output.sheet:q} \
            --workers {threads} \
            --log {log:q}
        """
