"""The catalogue of published weights: which file a name stands for, where it is published, and what it is for.

Light: the check of the configuration imports this module, and must not wait for PyTorch.
"""

from typing import Literal, NamedTuple

_TORCHVISION = "https://download.pytorch.org/models"
_ADAPTSEGNET = "http://vllab.ucmerced.edu/ytsai/CVPR18"
_ADVENT = "https://github.com/valeoai/ADVENT/releases"


class PublishedWeights(NamedTuple):
    """One entry of the catalogue.

    file: its name in the folder of weights. address: where it is published, or "".
    sha256: the digest or its first eight digits, which authors of PyTorch weights put into the file's name; empty where
    nobody published one: such a file is not fetched, because it could not be verified, but taken from the folder.
    source: what to fetch by hand where the address is empty, cannot be verified or does not answer.
    use: what the weights are for.
    """

    file: str
    address: str
    sha256: str
    source: str
    use: Literal["a backbone", "a trunk of LPIPS", "a whole network"] = "a backbone"


CATALOGUE = {
    "resnet50-v1": PublishedWeights(
        "resnet50-0676ba61.pth",
        f"{_TORCHVISION}/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "torchvision, ResNet50_Weights.IMAGENET1K_V1",
    ),
    "resnet50-v2": PublishedWeights(
        "resnet50-11ad3fa6.pth",
        f"{_TORCHVISION}/resnet50-11ad3fa6.pth",
        "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        "torchvision, ResNet50_Weights.IMAGENET1K_V2",
    ),
    "resnet101-v1": PublishedWeights(
        "resnet101-63fe2227.pth",
        f"{_TORCHVISION}/resnet101-63fe2227.pth",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        "torchvision, ResNet101_Weights.IMAGENET1K_V1",
    ),
    "resnet101-v2": PublishedWeights(
        "resnet101-cd907fc2.pth",
        f"{_TORCHVISION}/resnet101-cd907fc2.pth",
        "cd907fc2",
        "torchvision, ResNet101_Weights.IMAGENET1K_V2",
    ),
    "alexnet": PublishedWeights(
        "alexnet-owt-7be5be79.pth",
        f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "torchvision, AlexNet_Weights.IMAGENET1K_V1",
        "a trunk of LPIPS",
    ),
    "vgg16": PublishedWeights(
        "vgg16-397923af.pth",
        f"{_TORCHVISION}/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "torchvision, VGG16_Weights.IMAGENET1K_V1",
        "a trunk of LPIPS",
    ),
    "deeplab-init": PublishedWeights(
        "DeepLab_resnet_pretrained_init-f81d91e8.pth",
        f"{_ADAPTSEGNET}/DeepLab_resnet_pretrained_init-f81d91e8.pth",
        "f81d91e8",
        "the caffe-style initialisation (ImageNet and COCO), from AdaptSegNet's repository or its mirrors",
    ),
    "deeplab-init-imagenet": PublishedWeights(
        "DeepLab_resnet_pretrained_imagenet.pth",
        f"{_ADVENT}/download/v0.1/DeepLab_resnet_pretrained_imagenet.pth",
        "",
        f"the caffe-style initialisation, from {_ADVENT}",
    ),
    "simclrv2-r101": PublishedWeights(
        "r101_1x_sk0.pth",
        "",
        "",
        "SimCLRv2 r101_1x_sk0 for PyTorch: ProDA's file (see its README), or as Separius/SimCLRv2-Pytorch converts it",
    ),
    "mit-b5": PublishedWeights(
        "mit_b5.pth", "", "", "the folder of ImageNet weights that the README of SegFormer, and DAFormer's, link to"
    ),
    "loopda-student": PublishedWeights(
        "student.pth",
        "",
        "",
        "LoopDA's authors: their repository fy-vision/LoopDA names the file but links none",
        "a whole network",
    ),
    "adaptsegnet-gta": PublishedWeights(
        "GTA2Cityscapes_multi-ed35151c.pth",
        f"{_ADAPTSEGNET}/GTA2Cityscapes_multi-ed35151c.pth",
        "ed35151c",
        "AdaptSegNet's repository, multi-level GTA5-to-Cityscapes model",
        "a whole network",
    ),
    "advent-gta": PublishedWeights(
        "gta2cityscapes_advent.pth",
        f"{_ADVENT}/download/v0.1/gta2cityscapes_advent.pth",
        "",
        f"AdvEnt from {_ADVENT}",
        "a whole network",
    ),
}
