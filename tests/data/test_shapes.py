"""Images that a resizing squeezes."""

from pathlib import Path

import pytest

from loopda.data.manifest import Row
from loopda.data.shapes import keeping_shape, squeezed


def rows(*sizes):
    return [Row(Path("a.png"), width=width, height=height) for width, height in sizes]


@pytest.mark.parametrize(
    ("shape", "size", "said", "kept"),
    [
        ((1920, 1080), (192, 144), "1 images of 1920x1080 (16:9) are squeezed to 192x144 (4:3)", (256, 144)),
        ((640, 480), (160, 80), "1 images of 640x480 (4:3) are squeezed to 160x80 (2:1)", (128, 96)),
        ((480, 640), (160, 80), "1 images of 480x640 (3:4) are squeezed to 160x80 (2:1)", (96, 128)),
        ((2048, 1024), (960, 540), "1 images of 2048x1024 (2:1) are squeezed to 960x540 (16:9)", (1024, 512)),
    ],
)
def test_a_squeezed_set_is_told_with_a_size_that_keeps_its_shape(shape, size, said, kept):
    assert squeezed(rows(shape), size) == said
    assert keeping_shape(rows(shape), size) == kept
    assert squeezed(rows(shape), kept) == ""


@pytest.mark.parametrize(
    ("shape", "size"), [((256, 128), (160, 80)), ((1914, 1052), (1280, 720)), ((960, 720), (192, 144))]
)
def test_images_of_about_the_same_shape_are_not_mentioned(shape, size):
    assert squeezed(rows(shape), size) == ""


def test_only_the_squeezed_images_are_counted_and_the_most_frequent_shape_is_named():
    mixed = rows((320, 160), (640, 480), (640, 480), (480, 640))
    assert squeezed(mixed, (160, 80)) == (
        "2 images of 640x480 (4:3), and 1 of other sizes, are squeezed to 160x80 (2:1)"
    )
    assert keeping_shape(mixed, (160, 80)) == (128, 96)
