import numpy as np

from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.labels.overlay import borders, legend, overlay

ROAD, SKY = 0, 10


def test_an_overlay_tints_each_class_and_leaves_pixels_without_a_class_to_the_image():
    image = np.full((1, 6, 3), 255, dtype=np.uint8)
    image[0, :3] = 0
    label = np.array([[ROAD, ROAD, ROAD, ROAD, IGNORE, IGNORE]], dtype=np.uint8)
    drawn = overlay(image, label, CITYSCAPES).tolist()[0]
    road = CITYSCAPES.colours[ROAD]
    assert drawn[0] == [round(part / 2) for part in road]
    assert drawn[5] == [255, 255, 255]
    assert all(white >= black for white, black in zip(drawn[3], drawn[0], strict=True))


def test_black_stays_black_and_white_white_below_the_colours_and_what_is_between_gets_brighter():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = overlay(grey, np.full((1, 256), IGNORE, dtype=np.uint8), CITYSCAPES)[0, :, 0].astype(int)
    assert (shown[0], shown[255]) == (0, 255)
    assert (np.diff(shown) >= 0).all()
    assert (shown >= np.arange(256)).all()
    assert (shown[1:200] > np.arange(1, 200)).all()


def test_borders_are_where_the_class_to_the_right_or_below_is_another():
    label = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 3, 3]], dtype=np.uint8)
    assert borders(label).astype(int).tolist() == [[0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert borders(label, 2).astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert not borders(np.zeros((5, 5), dtype=np.uint8), 2).any()
    assert borders(np.zeros((1, 1), dtype=np.uint8), 2).shape == (1, 1)


def test_borders_are_paler_than_the_inside_of_a_class():
    image = np.full((4, 8, 3), 60, dtype=np.uint8)
    label = np.repeat([[ROAD] * 4 + [SKY] * 4], 4, axis=0).astype(np.uint8)
    drawn = overlay(image, label, CITYSCAPES).astype(int)
    assert (drawn[:, 3] > drawn[:, 2]).all()
    assert (drawn[:, 4] == drawn[:, 7]).all()


def test_the_legend_shows_every_colour_in_the_order_of_the_classes():
    swatches = legend(CITYSCAPES)[:, 20]
    tops = [int(np.flatnonzero((swatches == colour).all(axis=1))[0]) for colour in CITYSCAPES.colours]
    assert tops == sorted(tops)
