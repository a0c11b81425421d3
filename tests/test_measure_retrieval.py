"""The script that measures retrieval, on a ranking whose figures are counted by hand."""

from pathlib import Path

import pytest

from loopda.data.poses import PairDistance
from loopda.data.ranking import PairRanking


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("measure_retrieval")


def test_recall_and_distance_are_those_counted_by_hand(script):
    def image(name, lor, *days):
        return {"night": f"here/{name}.png", "best": [{"day": f"here/{day}.png", "lor": lor} for day in days]}

    images = [image("n1", 0.6, "a", "b"), image("n2", 0.3, "c", "a"), image("n3", 0.5, "b", "c"), image("x", 0.9, "a")]
    poses = [("n1", "a", 0.1), ("n2", "a", 4.0), ("n3", "d", 0.2)]
    truth = {
        f"{night}.png": PairDistance(Path(f"there/{night}.png"), Path(f"there/{day}.png"), metres, 0.0)
        for night, day, metres in poses
    }
    ranking = PairRanking(candidates=4, overlap="each_static", tau=0.5, images=images)
    measured = script.measure(ranking, truth)
    assert measured["chance"] == {"recall@1": 25.0, "recall@5": 100.0}
    third = pytest.approx(100 / 3)
    assert measured["all"] == {"images": 3, "recall@1": third, "recall@5": pytest.approx(200 / 3), "metres": 0.1}
    assert measured["above tau"] == {"images": 2, "recall@1": 50.0, "recall@5": 50.0, "metres": 0.1}
    assert measured["near"]["images"] == 2
    assert measured["far"] == {"images": 1, "recall@1": 0.0, "recall@5": 100.0, "metres": None}
