"""Night images with the day references of other places: what does Day-Night Agreement do where references are wrong?

    python scripts/mispair.py --night results/manifest/loopda/night.csv --out mispaired.csv

rolls the references of the manifest that `prepare` wrote by half its length. Then self-training by hand, from a warm-up
of `snakemake tau`; so without DNA, and with it where the experiment is loopda instead of no-dna:

    python -m loopda.stages.self_train --config results/self_train/no-dna/seed0/config.yaml --night mispaired.csv \
        --warmed-up results/warmup/loopda/seed0/model.pt --loops results/warmup/loopda/seed0/loops.pt \
        --labels results/pseudo_labels/loopda/seed0/labels.csv --source results/manifest/loopda/source.csv \
        --classes results/prepare/loopda/classes.json --model mispaired/model.pt --metrics mispaired/metrics.jsonl \
        --log mispaired.log --seed 0 --threads 1
    python -m loopda.stages.evaluate --config results/evaluate/loopda/seed0/config.yaml --model mispaired/model.pt \
        --night-val results/manifest/loopda/night_val.csv --day-val results/manifest/loopda/day_val.csv \
        --classes results/prepare/loopda/classes.json --scores mispaired/scores.json --experiment mispaired --seed 0 \
        --log mispaired.log
"""

import argparse
from pathlib import Path

from loopda.data.manifest import Row, read_manifest, with_reference, write_manifest
from loopda.text.encoding import begin_program


def main() -> None:
    """Read, roll and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("night", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    write_manifest(arguments.out, mispaired(read_manifest(arguments.night)))


def mispaired(rows: list[Row]) -> list[Row]:
    """The rows, each with the reference of the row that is half the list away."""
    half = len(rows) // 2
    rolled = rows[-half:] + rows[:-half]
    return [with_reference(row, other.reference) for row, other in zip(rows, rolled, strict=True)]


if __name__ == "__main__":
    begin_program()
    main()
