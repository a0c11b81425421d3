import json

import pytest

from loopda.data.ranking import PairRanking, RankedDay, RankedNight, read_ranking, write_ranking
from loopda.errors import DataError


def test_a_ranking_is_read_as_it_was_written(tmp_path):
    best = [RankedDay(day="day/b.png", lor=0.5), RankedDay(day="day/a.png", lor=0.25)]
    ranking = PairRanking(
        overlap="each_static", tau=0.5, candidates=2, images=[RankedNight(night="night/a.png", best=best)]
    )
    write_ranking(tmp_path / "ranking.json", ranking)
    assert list(json.loads((tmp_path / "ranking.json").read_text())) == ["overlap", "tau", "candidates", "images"]
    found = read_ranking(tmp_path / "ranking.json")
    assert found == ranking.model_copy(update={"read_from": tmp_path / "ranking.json"})
    assert found.reaching_tau() == 1


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        ([{"night": "n.png", "best": []}], r"images\.0\.best"),
        ([{"night": "n.png", "best": [{"day": "d.png", "lor": 1.5}]}], r"images\.0\.best\.0\.lor"),
    ],
)
def test_a_ranking_that_pair_does_not_write_is_refused_by_name_with_the_remedy(tmp_path, images, fault):
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps({"overlap": "each_static", "tau": 0.5, "candidates": 1, "images": images}))
    with pytest.raises(DataError, match=rf"ranking\.json: {fault}: .*; run the stage `pair` again"):
        read_ranking(path)


def test_a_missing_ranking_is_named_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"ranking\.json: no such file; run the stage `pair` again"):
        read_ranking(tmp_path / "ranking.json")
