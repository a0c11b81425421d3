"""The parameters of every network belong to its backbone or to its heads, which have their own learning rates."""

import pytest

from loopda.models.daformer import DAFormerNetwork
from loopda.models.deeplab import DeepLabV2
from loopda.models.pspnet import PSPNet

NETWORKS = {
    "pspnet": lambda **options: PSPNet(classes=3, blocks=(1, 1, 1, 1), width=4, head_channels=4, **options),
    "deeplab": lambda **options: DeepLabV2(classes=3, blocks=(1, 1, 1, 1), width=4, **options),
    "deeplab of one level": lambda **options: DeepLabV2(classes=3, blocks=(1, 1, 1, 1), width=4, levels=1, **options),
    "daformer": lambda **_: DAFormerNetwork(classes=3, encoder="mit_tiny", head_channels=4, bn_pretrain=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_of_the_backbone_or_of_a_head_and_of_one_alone(name):
    network = NETWORKS[name](bn_pretrain=True, freeze_affine=False)
    found = [id(parameter) for parameter in (*network.backbone_parameters(), *network.head_parameters())]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())


@pytest.mark.parametrize("name", ["pspnet", "deeplab"])
def test_frozen_scales_and_shifts_of_the_backbone_are_not_trained(name):
    network = NETWORKS[name](freeze_affine=True)
    trained = {id(parameter) for parameter in (*network.backbone_parameters(), *network.head_parameters())}
    frozen = {n for n, parameter in network.named_parameters() if id(parameter) not in trained}
    assert frozen
    assert frozen == {n for n, parameter in network.named_parameters() if not parameter.requires_grad}
