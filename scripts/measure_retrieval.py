"""How well the stage `pair` finds the true day image of a night image, on the town, where the truth is known.

    python scripts/measure_retrieval.py --ranking results/pair/paired/seed0/ranking.json \
        --poses results/town/poses.csv --out retrieval.json

The truth is the place that the town itself put a night image's reference at; the ranking has not seen it. A night image
without a true reference among the poses is left out. Places of the town are worlds of their own, so only a hit at the
true place has a distance in metres.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from loopda.data.poses import PairDistance, read_poses
from loopda.data.ranking import PairRanking, RankedDay, read_ranking
from loopda.text.encoding import begin_program

NEAR = 1.0  # metres; the town draws a near pair within 0.3 and most others farther apart than this


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("ranking", "poses", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    truth = {pair.night.name: pair for pair in read_poses(arguments.poses)}
    measured = json.dumps(measure(read_ranking(arguments.ranking), truth), indent=1)
    print(measured)
    arguments.out.write_text(measured + "\n", encoding="utf-8")


def measure(ranking: PairRanking, truth: dict[str, PairDistance]) -> dict[str, Any]:
    """Recall, in percent, of all night images, of those whose best ratio reaches tau, and of near and far true pairs.

    truth: by the night image's file name, its true pair. chance: the recall of a random order of the candidates.
    """
    searches = [
        search(image.best, truth[Path(image.night).name]) for image in ranking.images if Path(image.night).name in truth
    ]
    chance = 100 / ranking.candidates
    return {
        "candidates": ranking.candidates,
        "overlap": ranking.overlap,
        "tau": ranking.tau,
        "chance": {"recall@1": chance, "recall@5": min(5 * chance, 100.0)},
        "all": summary(searches),
        "above tau": summary([found for found in searches if found["lor"] >= ranking.tau]),
        "near": summary([found for found in searches if found["metres"] < NEAR]),
        "far": summary([found for found in searches if found["metres"] >= NEAR]),
    }


def search(best: list[RankedDay], true: PairDistance) -> dict[str, Any]:
    """The rank of the true place among `best` (0 is first; None: not among them), the ratio of the first, and the
    distance of the true pair."""
    names = [Path(candidate.day).name for candidate in best]
    rank = names.index(true.reference.name) if true.reference.name in names else None
    return {"rank": rank, "lor": best[0].lor, "metres": true.metres}


def summary(searches: list[dict[str, Any]]) -> dict[str, Any]:
    """recall@k: percent of the searches with the true place among the first k. metres: the median distance of the first
    hits at the true place; null without any."""
    hits = [found["metres"] for found in searches if found["rank"] == 0]
    result = {"images": len(searches)}
    for k in (1, 5):
        within = sum(found["rank"] is not None and found["rank"] < k for found in searches)
        result[f"recall@{k}"] = 100 * within / len(searches) if searches else None
    return result | {"metres": statistics.median(hits) if hits else None}


if __name__ == "__main__":
    begin_program()
    main()
