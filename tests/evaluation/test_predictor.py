import math
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from loopda import load
from loopda.data.transforms import to_images
from loopda.errors import ConfigError, DataError, DeviceError
from loopda.evaluation import predictor
from loopda.evaluation import probabilities as protocol
from loopda.evaluation.predictor import Predictor
from loopda.evaluation.probabilities import class_probabilities, most_likely, predict
from loopda.labels.classes import CITYSCAPES
from loopda.models.checkpoint import load_segmenter
from loopda.models.segmenter import estimate_statistics


def photograph(width, height, seed=0):
    """Blobs of colour, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_three_lines_of_python_give_the_label_map_that_evaluation_scores(small_model):
    image = photograph(64, 32)
    model = load(small_model, device="cpu")
    labels = model.predict(image)
    segmenter = load_segmenter(small_model)
    segmenter.use_statistics("night")
    expected, confidence = predict(segmenter, to_images([image]), (32, 64))
    assert np.array_equal(labels, expected[0].numpy())
    assert np.array_equal(model(image).confidence, confidence[0].numpy())
    assert labels.dtype == np.uint8
    assert len(np.unique(labels)) > 2  # else the other tests would compare constants


def test_importing_the_package_imports_nothing_heavy():
    code = "import loopda, sys; print(sorted({'torch', 'numpy', 'PIL', 'pandas'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_path_a_pil_image_and_an_array_are_the_same_image(small_model, tmp_path):
    image = photograph(50, 40)
    Image.fromarray(image).save(tmp_path / "a.png")
    model = load(str(small_model), device="cpu")
    for same in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image)):
        assert np.array_equal(model.predict(same), model.predict(image))
    with pytest.raises(DataError, match="b.png: no such file"):
        model.predict(tmp_path / "b.png")


@pytest.mark.fault(68, "the predictor takes them by the entrance of files")
def test_pil_images_and_arrays_are_turned_and_refused_as_files_are(small_model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(50, 40)).save(tmp_path / "a.png", exif=exif)
    model = load(small_model, device="cpu")
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(model.predict(image), model.predict(tmp_path / "a.png"))
        assert model.predict(image).shape == (50, 40)
    with pytest.raises(DataError, match="16 bits a channel"):
        model.predict(Image.new("I;16", (50, 40)))
    with pytest.raises(DataError, match=r"its values are 0 ... 1: use `\(255 \* image\)"):
        model(photograph(50, 40) / 255)


@pytest.mark.parametrize(
    ("size", "image", "squeezed"), [("64x32", (50, 90), True), ("64x32", (90, 50), False), ("image", (50, 90), False)]
)
def test_an_image_of_another_orientation_than_the_working_size_is_squeezed(small_model, size, image, squeezed):
    assert load(small_model, size=size, device="cpu").squeezes(image) == squeezed


def test_the_statistics_are_those_of_the_domain_that_is_asked_for(small_model):
    image = photograph(64, 32)
    night, day = (load(small_model, domain=domain, device="cpu") for domain in ("night", "day"))
    segmenter = load_segmenter(small_model)
    segmenter.use_statistics("day")
    assert np.array_equal(day.predict(image), predict(segmenter, to_images([image]), (32, 64))[0][0].numpy())
    assert not np.array_equal(night.predict(image), day.predict(image))


def test_an_image_of_another_size_is_resized_to_the_training_size_and_its_labels_have_its_own(small_model):
    image = photograph(200, 150)
    model = load(small_model, device="cpu")
    resized = np.asarray(Image.fromarray(image).resize((64, 32), Image.Resampling.BICUBIC))
    expected, _ = predict(model.segmenter, to_images([resized]), (150, 200))
    assert model.settings["size"] == [64, 32]
    assert np.array_equal(model.predict(image), expected[0].numpy())


def test_a_model_that_does_not_know_its_training_size_sees_each_image_at_its_own(small_model):
    segmenter = load_segmenter(small_model)
    segmenter.input_size = None
    model = Predictor(segmenter)
    image = photograph(72, 44)
    expected, _ = predict(segmenter, to_images([image]), (44, 72))
    assert model.settings["size"] == "image"
    assert np.array_equal(model.predict(image), expected[0].numpy())


@pytest.mark.parametrize("options", [{}, {"size": "image"}, {"size": "48x32"}, {"tile": "32x16"}])
@pytest.mark.parametrize("size", [(1, 1), (3, 90), (97, 2), (65, 33)])
def test_any_image_size_gives_a_label_map_of_that_size(small_model, options, size):
    labels, confidence = load(small_model, device="cpu", **options)(photograph(*size))
    assert labels.shape == confidence.shape == size[::-1]
    assert labels.max() < len(CITYSCAPES)
    assert 1 / len(CITYSCAPES) <= confidence.min()
    assert confidence.max() <= 1 + 1e-6


# tiles


class OfEachPixel(torch.nn.Module):
    """Stands in for a segmenter: the logits of a pixel depend on that pixel alone."""

    classes = CITYSCAPES
    input_size = (64, 32)
    shift = torch.zeros(1)
    network = SimpleNamespace(aligned=True)

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images, *, aux):
        self.seen.append(tuple(images.shape[2:]))
        weights = torch.linspace(-9, 9, len(CITYSCAPES) * 3).reshape(len(CITYSCAPES), 3, 1, 1).sin() * 5
        return SimpleNamespace(logits=torch.nn.functional.conv2d(images, weights))

    def use_statistics(self, domain):
        return domain


@pytest.mark.parametrize(("tile", "overlap"), [((20, 16), None), ((20, 16), 0), ((31, 17), 15), ((100, 16), 3)])
def test_tiles_of_a_network_without_context_give_what_the_whole_image_gives(tile, overlap):
    image = photograph(77, 41)
    whole, tiled = Predictor(OfEachPixel(), size="image"), Predictor(OfEachPixel(), tile=tile, overlap=overlap)
    assert np.allclose(tiled(image).confidence, whole(image).confidence, atol=1e-6)
    assert (tiled.predict(image) != whole.predict(image)).mean() < 0.001  # ties
    assert set(tiled.segmenter.seen) == {(min(tile[1], 41), min(tile[0], 77))}
    assert len(tiled.segmenter.seen) > 1


def test_tiles_are_cut_from_the_resized_image(small_model):
    model = Predictor(OfEachPixel(), size=(40, 30), tile=(20, 20), overlap=4)
    assert model.predict(photograph(200, 100)).shape == (100, 200)
    assert len(model.segmenter.seen) == 3 * 2


def test_the_settings_in_words():
    assert Predictor(OfEachPixel(), domain="day").description == "resized to 64x32, day statistics"
    tiled = Predictor(OfEachPixel(), tile="32x16").description
    assert tiled == "each at its own size in tiles of 32x16 that overlap by 4, night statistics"


def test_one_tile_around_the_image_is_the_whole_image(small_model):
    image = photograph(60, 40)
    tiled, whole = load(small_model, tile="64x64", device="cpu"), load(small_model, size="image", device="cpu")
    assert np.allclose(tiled(image).confidence, whole(image).confidence, atol=1e-6)


@given(st.integers(1, 500), st.integers(16, 200), st.integers(0, 199))
def test_the_fewest_tiles_cover_every_pixel_and_overlap_by_at_least_as_much_as_asked(length, tile, overlap):
    assume(overlap < tile)
    starts = predictor._starts(length, tile, overlap)
    assert starts[0] == 0
    assert max(starts[-1] + tile, length) == max(tile, length)
    assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))
    assert len(starts) == max(1, math.ceil((length - overlap) / (tile - overlap)))


# the largest probability


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [(50, 70), (7, 9), (1, 30), (9, 1)])
def test_upsampling_in_strips_gives_what_upsampling_at_once_gives(monkeypatch, size, aligned):
    probabilities = torch.rand(2, 5, 9, 11, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    labels, confidence = most_likely(probabilities, size, aligned)
    monkeypatch.setattr(protocol, "MOST_VALUES", 2 * 5 * size[1] * 3)
    striped_labels, striped_confidence = most_likely(probabilities, size, aligned)
    assert torch.allclose(confidence, striped_confidence, atol=1e-6)
    assert (labels != striped_labels).float().mean() < 0.01
    assert striped_labels.dtype == torch.uint8


def test_no_more_probabilities_than_the_limit_are_upsampled_at_a_time(monkeypatch):
    seen = []
    upsample = protocol.upsample
    monkeypatch.setattr(protocol, "MOST_VALUES", 1000)
    monkeypatch.setattr(protocol, "upsample", lambda values, size, aligned: seen.append(size) or upsample(values, size))
    most_likely(torch.rand(1, 5, 9, 11), (101, 20))
    assert seen == [(10, 20)] * 10 + [(1, 20)]


# adaptation


def seen_of(image, options):
    """What the network sees of an image: at the size of training, at its own, or its tiles."""
    if not options:
        return [np.asarray(Image.fromarray(image).resize((64, 32), Image.Resampling.BICUBIC))]
    if "size" in options:
        return [image]
    rows, columns = ((0, 8, 16), (0, 16, 32)) if image.shape[:2] == (32, 64) else ((0, 11, 21, 32), (0, 8))
    return [image[row : row + 16, column : column + 32] for row in rows for column in columns]


@pytest.mark.parametrize(
    ("options", "several"),
    [({}, 8), ({"size": "image"}, 1), ({"tile": "32x16"}, 8)],
    ids=["resized", "own size", "tiles"],
)
def test_an_adapted_model_has_the_statistics_of_what_it_sees_of_the_images(small_model, options, several):
    images = [photograph(64, 32, seed) for seed in range(3)] + [photograph(40, 48)]
    model = load(small_model, device="cpu", **options)
    model.adapt(images)
    seen = [part for image in images for part in seen_of(image, options)]
    batches = [to_images(seen[first : first + several]) for first in range(0, len(seen), several)]
    for name, value in estimate_statistics(load_segmenter(small_model), batches).items():
        assert torch.allclose(model.segmenter.statistics["own"][name], value, rtol=1e-4, atol=1e-6), name
    assert model.settings["statistics"] == "own"
    assert model.description.endswith("own statistics")


def test_a_model_is_adapted_to_one_image_at_least(small_model):
    with pytest.raises(DataError, match="no image to estimate statistics on"):
        load(small_model, device="cpu").adapt([])


def test_looking_at_images_changes_no_prediction(small_model, monkeypatch):
    model, image = load(small_model, device="cpu"), photograph(64, 32)
    before = model(image)
    monkeypatch.setattr("loopda.models.statistics.FAR", 1e9)
    assert model.far([photograph(64, 32, seed) for seed in range(3)]) == model.far([]) == ""
    monkeypatch.setattr("loopda.models.statistics.FAR", 0.0)
    assert model.far([image]).startswith("the images lie far from the night statistics")
    assert np.array_equal(model(image).confidence, before.confidence)


# options


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"domain": "dusk"}, "domain 'dusk': choose day or night"),
        ({"size": "960"}, "'960' is no size"),
        ({"size": (8, 100)}, "'8x100' is no size"),
        ({"tile": "0x0"}, "'0x0' is no size"),
        ({"tile": "64x32", "overlap": 32}, "overlap 32"),
        ({"tile": "64x32", "overlap": -1}, "overlap -1"),
        ({"overlap": 4}, "overlap 4: there are no tiles"),
        ({"tile": "64x32", "overlap": 2.5}, "overlap 2.5: it must be a whole number"),
        ({"size": (64,)}, "'64' is no size"),
        ({"size": (64, 32, 3)}, "'64x32x3' is no size"),
        ({"tile": 64}, "'64' is no size"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(small_model, options, fault):
    with pytest.raises(ConfigError, match=fault):
        load(small_model, device="cpu", **options)


@pytest.mark.fault(29, "a prediction says which size or tile to choose")
def test_too_little_memory_is_a_device_error_that_says_what_to_choose(small_model, monkeypatch):
    def full(segmenter, images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor, "class_probabilities", full)
    with pytest.raises(DeviceError, match="64x32 pixels does not fit.*--tile"):
        load(small_model, device="cpu").predict(photograph(99, 99))


def test_class_probabilities_sum_to_one_at_the_resolution_of_the_logits(small_model):
    segmenter = load_segmenter(small_model)
    segmenter.use_statistics("night")
    probabilities = class_probabilities(segmenter, to_images([photograph(64, 32)]))
    assert probabilities.shape == (1, 19, 8, 16)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(1, 8, 16))
