"""What `illustrate` says on the page of the report."""

import pytest
from loops import loop_settings

from loopda.stages.illustrate import perceptual_note


@pytest.mark.parametrize(
    ("perceptual", "weights", "words"),
    [
        ("efficientnet-lite0", "", ["EfficientNet-Lite0, trained on ImageNet", "in the place of the paper's LPIPS"]),
        ("lpips-alex", "", ["random AlexNet trunk", "not on the ImageNet weights"]),
        ("lpips-vgg", "", ["random VGG-16 trunk"]),
        ("lpips-vgg", "vgg16", ["LPIPS on VGG-16 with the weights vgg16"]),
    ],
)
def test_the_note_names_the_distance_of_the_perceptual_loss(perceptual, weights, words):
    decoders = loop_settings(decoders={"perceptual": perceptual, "lpips_weights": weights}).decoders
    note = perceptual_note(decoders)
    assert all(word in note for word in words)
    assert note.count("random") == (perceptual != "efficientnet-lite0" and not weights)
