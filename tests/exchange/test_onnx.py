"""The ONNX graph answers what this package answers, from an image's bytes."""

import copy
import json

import numpy as np
import pytest
import torch
from checkpoints import small_network

from loopda.data.transforms import to_images
from loopda.errors import NumericError
from loopda.evaluation.probabilities import predict
from loopda.exchange import onnx
from loopda.exchange.onnx import write_onnx
from loopda.labels.classes import CITYSCAPES
from loopda.models.segmenter import Segmenter, estimate_statistics

SIZE = (56, 40)  # width, height


def trained(name="pspnet", normalisation="caffe"):
    torch.manual_seed(0)
    model = Segmenter(small_network(name=name, normalisation=normalisation), CITYSCAPES)
    model.statistics = {
        domain: estimate_statistics(model, [torch.rand(3, 3, 40, 56) * scale])
        for domain, scale in (("day", 2), ("night", 0.1))
    }
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One network as two graphs, made once: an export takes seconds."""
    folder = tmp_path_factory.mktemp("onnx")
    model = trained()
    for domain in ("day", "night"):
        write_onnx(model, folder / f"{domain}.onnx", domain, SIZE, 1)
    return model, folder


def answer(path, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["label", "probabilities"], {"image": image[None]})


@pytest.mark.parametrize("domain", ["day", "night"])
def test_the_graph_makes_the_label_map_of_predict_from_bytes(exported, domain):
    model, folder = exported
    image = np.random.default_rng(1).integers(256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8)
    model.use_statistics(domain)
    labels, confidence = predict(model, to_images([image]), (SIZE[1], SIZE[0]))
    label, probabilities = answer(folder / f"{domain}.onnx", image)
    assert (label.dtype, label.shape) == (np.uint8, (1, SIZE[1], SIZE[0]))
    assert probabilities.shape == (1, 19, SIZE[1], SIZE[0])
    assert np.abs(probabilities.max(axis=1) - confidence.numpy()).max() < 1e-4
    # another class may win only where the best two are as near to each other as rounding
    second, first = np.sort(probabilities, axis=1)[:, -2:].swapaxes(0, 1)
    assert (label == labels.numpy())[first - second > 1e-4].all()
    assert (first - second > 1e-4).mean() > 0.9
    assert len(np.unique(label)) > 1


def test_the_graph_of_another_domain_has_other_statistics(exported):
    _, folder = exported
    image = np.random.default_rng(1).integers(256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8)
    _, day = answer(folder / "day.onnx", image)
    _, night = answer(folder / "night.onnx", image)
    assert np.abs(day - night).max() > 0.01


def test_the_graph_says_its_classes_and_nothing_about_the_machine_that_made_it(exported):
    import onnx

    _, folder = exported
    model = onnx.load(folder / "night.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["classes"]) == list(CITYSCAPES.names)
    assert metadata["statistics"] == "night"
    assert b".py" not in (folder / "night.onnx").read_bytes()
    assert [entry.name for entry in model.graph.input] == ["image"]
    assert sorted(path.name for path in folder.iterdir()) == ["day.onnx", "night.onnx"]


def test_a_deeplab_with_another_input_is_exported_too(tmp_path):
    worst, other = write_onnx(trained("deeplab", "imagenet"), tmp_path / "net.onnx", "night", (32, 24), 1)
    assert worst < 1e-4
    assert other < 0.01


def test_a_graph_that_disagrees_with_pytorch_is_refused_and_leaves_no_file(exported, tmp_path, monkeypatch):
    export = torch.onnx.export

    def of_another_network(module, *arguments, **options):
        other = copy.deepcopy(module)
        other.segmenter.network.final2[1].bias.data[3] += 0.1
        return export(other, *arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", of_another_network)
    model, _ = exported
    with pytest.raises(NumericError, match=r"night\.onnx: ONNX Runtime's probabilities differ"):
        write_onnx(model, tmp_path / "night.onnx", "night", (32, 24), 1)
    assert not list(tmp_path.iterdir())


def test_a_difference_that_rounding_explains_is_no_disagreement(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "TOLERANCE", 0.0)
    model, _ = exported
    worst, _ = write_onnx(model, tmp_path / "night.onnx", "night", (32, 24), 1)
    assert 0 < worst < 1e-4
