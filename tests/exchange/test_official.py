"""Files in the official layout: written and read again bit for bit, or refused."""

import pytest
import torch
from trained_networks import CLASSES, bits, trained

from loopda.errors import DataError
from loopda.exchange.foreign import foreign_segmenter
from loopda.exchange.loading import read_weights
from loopda.exchange.official import write_official


@pytest.mark.parametrize("domain", ["day", "night"])
@pytest.mark.parametrize("bn_pretrain", [False, True])
def test_an_official_file_read_again_is_the_same_network_bit_for_bit(tmp_path, bn_pretrain, domain):
    model = trained(bn_pretrain)
    write_official(model, tmp_path / "student.pth", domain)
    state = torch.load(tmp_path / "student.pth", weights_only=True)
    assert type(state) is dict
    assert list(state) == list(model.network.state_dict())
    again = foreign_segmenter(read_weights(tmp_path / "student.pth"), CLASSES, aspp_branches=4)
    assert (again.section.normalisation, again.bn_pretrain) == (model.section.normalisation, bn_pretrain)
    assert (again.section.blocks, again.section.width, again.section.head_channels) == ((1, 2, 1, 1), 4, 6)
    assert bits(again.statistics["shared"]) == bits(model.statistics[domain])
    assert bits(again.network.state_dict()) == bits(model.network.state_dict())
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    model.use_statistics(domain)
    again.use_statistics(domain)
    assert torch.equal(model(images).logits, again(images).logits)
    write_official(again, tmp_path / "again.pth", domain)
    assert bits(torch.load(tmp_path / "again.pth", weights_only=True)) == bits(state)


def test_the_official_file_of_a_domain_holds_its_statistics(tmp_path):
    model = trained()
    for domain in ("day", "night"):
        write_official(model, tmp_path / f"{domain}.pth", domain)
        state = torch.load(tmp_path / f"{domain}.pth", weights_only=True)
        for name, value in model.statistics[domain].items():
            assert torch.equal(state[name], value)
    assert not torch.equal(
        model.statistics["day"]["layer0.1.running_var"], model.statistics["night"]["layer0.1.running_var"]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"output_stride": 4}, "output_stride is 4, there it is 8"),
        ({"stride_in": "conv2"}, "stride_in is conv2, there it is conv1"),
        ({"normalisation": "imagenet"}, "normalisation is imagenet, there it is caffe"),
        ({"bn_pretrain": True, "normalisation": "caffe"}, "normalisation is caffe, there it is caffe-rgb"),
        ({"name": "deeplab"}, "name is deeplab, there it is pspnet"),
    ],
)
def test_what_the_official_code_would_compute_otherwise_is_refused(tmp_path, changes, expected):
    with pytest.raises(DataError, match=expected):
        write_official(trained(**changes), tmp_path / "student.pth", "night")
    assert not list(tmp_path.iterdir())
