"""What the pictures of the town show: labels that fit, a static world that stays, a dark night."""

from dataclasses import replace

import numpy as np
import pytest

from loopda.town import write
from loopda.town.camera import Camera
from loopda.town.renderer import render
from loopda.town.scenes import visit
from loopda.town.world import CAR, POLE, SKY, UP, Quad, Scene, Shade, billboard

WIDTH, HEIGHT = 128, 64
SIZE = {"seed": 0, "width": WIDTH, "height": HEIGHT, "supersample": 2}


@pytest.fixture(scope="module")
def pairs() -> list[write.Pair]:
    return write.dark_zurich_pairs("train", 16, seed=0, near_fraction=0.5)


@pytest.fixture(scope="module")
def drawn(pairs: list[write.Pair]) -> list[tuple]:
    """For each pair: night picture, night classes, day picture, day classes."""
    return [(*write.draw(pair.night, **SIZE), *write.draw(pair.day, **SIZE)) for pair in pairs]


def overlap(night: np.ndarray, day: np.ndarray) -> float:
    """LOR of LoopDA, section 3.2: overlap of poles, lights and signs."""
    a, b = np.isin(night, (5, 6, 7)), np.isin(day, (5, 6, 7))
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def scene_of(frame: write.Frame) -> tuple[Scene, Camera]:
    place, camera = write.place_of(frame, 0), write.camera_of(frame, 0)
    return visit(place, camera, (*place.seed, 7, frame.moment)), camera


def test_a_pole_is_as_many_pixels_wide_and_tall_as_its_distance_says() -> None:
    camera = Camera(x=0.0, y=1.5, z=0.0, yaw=0.0, pitch=0.0, focal=0.5, middle=0.5)
    surface = lambda u, v, footprint: Shade(POLE, np.array((0.5, 0.5, 0.5)))  # noqa: E731
    quad = billboard(0.0, 10.0, 0.4, 2.0, surface, eye=camera.position())
    scene = Scene(ground=lambda x, z, f: Shade(0, np.array((0.1, 0.1, 0.1))), quads=[quad])
    label = render(scene, camera, 400, 200).label.reshape(200, 400)
    rows, columns = np.nonzero(label == POLE)
    assert np.ptp(columns) + 1 == 8  # 0.4 m at 10 m with a focal length of 200 pixels
    assert np.ptp(rows) + 1 == 40
    assert rows.min() == 90  # its top is 0.5 m above the eye: 10 pixels above the horizon at row 100
    assert (label[:90] == SKY).all()


def test_the_nearer_of_two_things_hides_the_other_whatever_their_order() -> None:
    camera = Camera(x=0.0, y=1.5, z=0.0, yaw=0.1, pitch=0.0, focal=0.5)

    def board(z: float, label: int) -> Quad:
        look = Shade(label, np.full(3, 0.5))
        return Quad(np.array([-2.0, 0.0, z]), np.array([1.0, 0, 0]), UP, 4.0, 3.0, lambda u, v, f: look)

    ground = lambda x, z, f: Shade(0, np.full(3, 0.1))  # noqa: E731
    near, far = board(8.0, CAR), board(9.0, POLE)
    first = render(Scene(ground=ground, quads=[near, far]), camera, 96, 48)
    second = render(Scene(ground=ground, quads=[far, near]), camera, 96, 48)
    assert (first.label == second.label).all()
    assert (first.depth == second.depth).all()
    assert (first.label == CAR).any()
    assert (first.label == POLE).sum() < 0.1 * (first.label == CAR).sum()


def test_taking_a_thing_away_changes_only_the_pixels_that_carried_its_label(pairs: list[write.Pair]) -> None:
    scene, camera = scene_of(pairs[3].night)
    full = render(scene, camera, WIDTH, HEIGHT)
    nothing = replace(scene, quads=[])
    looked_at = 0
    for index in range(0, len(scene.quads), 7):
        quad = scene.quads[index]
        if quad.shadow:
            continue
        without = render(replace(scene, quads=scene.quads[:index] + scene.quads[index + 1 :]), camera, WIDTH, HEIGHT)
        alone = render(replace(nothing, quads=[quad]), camera, WIDTH, HEIGHT)
        covered = (alone.emitted != 0).any(1) | (alone.depth != render(nothing, camera, WIDTH, HEIGHT).depth)
        changed = (full.label != without.label) | (full.albedo != without.albedo).any(1) | (full.depth != without.depth)
        assert not (changed & ~covered).any()
        assert (full.label[changed] == alone.label[changed]).all()
        assert (full.albedo[changed] == alone.albedo[changed]).all()
        looked_at += changed.any()
    assert looked_at >= 10


def test_edges_of_the_picture_lie_on_edges_of_the_labels(drawn: list[tuple]) -> None:
    on, beside = [], []
    for _, _, picture, label in drawn:
        grey = picture.astype(float).mean(2)
        step = np.abs(np.diff(grey, axis=1))
        edge = label[:, 1:] != label[:, :-1]
        on.append(step[edge].mean())
        beside.append(np.mean([step[np.roll(edge, shift, axis=1)].mean() for shift in (-4, 4)]))
    assert np.mean(on) > 2 * np.mean(beside)


def test_a_near_pair_shows_the_same_static_world_and_a_far_pair_another_view(
    pairs: list[write.Pair], drawn: list[tuple]
) -> None:
    agreement = {True: [], False: []}
    ratio = {True: [], False: []}
    for pair, (_, night, _, day) in zip(pairs, drawn, strict=True):
        static = (night <= SKY) & (day <= SKY)
        agreement[pair.night.near].append((night[static] == day[static]).mean())
        ratio[pair.night.near].append(overlap(night, day))
    assert np.mean(agreement[True]) > 0.94 > 0.88 > np.mean(agreement[False])
    assert np.mean(np.array(ratio[True]) >= 0.5) > 0.7
    assert np.mean(np.array(ratio[False]) >= 0.5) < 0.2


def test_moving_things_differ_between_the_visits_of_a_near_pair(pairs: list[write.Pair], drawn: list[tuple]) -> None:
    shared = []
    for pair, (_, night, _, day) in zip(pairs, drawn, strict=True):
        if pair.night.near:
            shared.append(((night > SKY) & (day > SKY)).sum() / max(((night > SKY) | (day > SKY)).sum(), 1))
    assert np.mean(shared) < 0.7


def test_night_is_darker_than_day_and_its_sky_is_black_but_not_all_is(drawn: list[tuple]) -> None:
    night = np.stack([picture for picture, _, _, _ in drawn]).astype(float)
    day = np.stack([picture for _, _, picture, _ in drawn]).astype(float)
    sky_at_night = np.concatenate([picture[label == SKY] for picture, label, _, _ in drawn])
    sky_by_day = np.concatenate([picture[label == SKY] for _, _, picture, label in drawn])
    assert night.mean() < 0.7 * day.mean()
    assert np.median(sky_at_night) < 35 < 150 < np.median(sky_by_day)
    assert (night.reshape(len(night), -1).max(1) > 200).all(), "every night has lights"
    road = [picture[label == 0].mean() for picture, label, _, _ in drawn]
    assert np.median(road) > 40, "most of the road can be seen"


def test_the_night_is_no_single_filter_over_the_day(pairs: list[write.Pair]) -> None:
    """One curve from day brightness to night brightness explains little, even with the same geometry."""
    pair = next(pair for pair in pairs if pair.night.near)
    picture, _ = write.draw(pair.night, **SIZE)
    day, _ = write.draw(replace(pair.night, night=False), **SIZE)
    night, day = picture.astype(float).mean(2).ravel(), day.astype(float).mean(2).ravel()
    rank = np.digitize(day, np.quantile(day, np.linspace(0, 1, 33)[1:-1]))
    curve = np.array([night[rank == i].mean() for i in range(32)])
    assert np.var(night - curve[rank]) > 0.4 * np.var(night)


def test_a_frame_depends_on_its_seed_alone(pairs: list[write.Pair]) -> None:
    first, again = write.draw(pairs[0].night, **SIZE), write.draw(pairs[0].night, **SIZE)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    other = write.draw(pairs[0].night, **{**SIZE, "seed": 5})
    assert (first[0] != other[0]).mean() > 0.5
