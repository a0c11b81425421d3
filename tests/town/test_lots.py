"""The lots along a street: each kind that a street draws, from wherever it is seen."""

import numpy as np
import pytest

from loopda.town.lots import Lot, build_up
from loopda.town.street import sample_street
from loopda.town.world import Lamp, Quad

KINDS = ("building", "house", "park", "wall", "fence", "side", "square")


def built(kind: str, *, seed: int, side: int, eye: tuple[float, float, float]) -> tuple[float, Lot]:
    """The height that `build_up` tells, and the lot with what stands on it."""
    quads: list[Quad] = []
    lamps: list[Lamp] = []
    lot = Lot(
        rng=np.random.default_rng(seed), eye=np.array(eye), side=side, start=12.0, length=15.0, front=7.5,
        tall=14.0, style=0.4, quads=quads, lamps=lamps,
    )  # fmt: skip
    return build_up(lot, kind), lot


def test_streets_draw_every_kind_of_lot_that_can_be_built_and_no_other() -> None:
    streets = [sample_street(np.random.default_rng(seed), frozenset(), city=0.3, yellow=False) for seed in range(30)]
    assert {kind for street in streets for side in street.lots for kind, _, _ in side} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_lot_is_the_same_wherever_it_is_seen_from_and_stands_on_its_side_of_the_road(kind: str, side: int) -> None:
    for seed in range(5):
        height, lot = built(kind, seed=seed, side=side, eye=(0.0, 1.4, 0.0))
        again, other = built(kind, seed=seed, side=side, eye=(-1.5, 1.4, 9.0))
        assert lot.rng.bit_generator.state == other.rng.bit_generator.state
        assert (height, len(lot.quads), len(lot.lamps)) == (again, len(other.quads), len(other.lamps))
        assert lot.quads
        assert (height > 0) == (kind in ("building", "wall"))
        assert all(side * quad.corner[0] > 0 for quad in lot.quads if not quad.shadow)


@pytest.mark.parametrize(("side", "begin", "end"), [(-1, 12.0, 27.0), (1, 27.0, 12.0)])
def test_a_front_along_a_lot_goes_from_one_of_its_ends_to_the_other(side: int, begin: float, end: float) -> None:
    _, lot = built("wall", seed=0, side=side, eye=(0.0, 1.4, 0.0))
    wall = lot.quads[0]
    assert wall.corner.tolist() == [side * 7.5, 0.0, begin]
    assert (wall.corner + wall.width * wall.along).tolist() == [side * 7.5, 0.0, end]
