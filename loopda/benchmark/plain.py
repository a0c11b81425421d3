"""A plain reference of the loops: the same mathematics and weights, with one network call per set of images.

It computes every head, upsamples and concatenates the pyramid, and keeps the precision of its inputs. The benchmark
compares the package's loops with it, and tests require its losses and gradients from them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from loopda.data.batches import DayBatch, NightBatch
from loopda.labels.fusion import fuse
from loopda.losses.adversarial import discriminator_loss, generator_loss
from loopda.losses.features import feature_consistency
from loopda.losses.reconstruction import reconstruction
from loopda.losses.segmentation import pseudo_cross_entropy
from loopda.methods.loopda import Loops
from loopda.methods.method import Terms, probabilities, supervision
from loopda.models.compute.normalisation import InstanceNorm2d
from loopda.models.pspnet import PyramidPooling
from loopda.models.segmentation_network import Outputs
from loopda.models.segmenter import Segmenter, upsample
from loopda.stages.self_train import co_teaching


def iteration(
    segmenter: Segmenter,
    nets: Loops,
    optimizers: Mapping[str, Optimizer],
    day: DayBatch,
    pairs: NightBatch,
    tau: float | None = None,
) -> Terms:
    """One step of warm-up, or of self-training with `tau`. Both loops are on, every night image has its reference."""
    weights, alpha = nets.settings.weights, nets.settings.weights.fusion
    dec_d, dec_n = (_decoder(nets, domain) for domain in ("day", "night"))
    d_d, d_n = nets.discriminators["day"], nets.discriminators["night"]
    x_d, y, x_n, x_ud = day.images, day.labels, pairs.images, pairs.references

    # labelled day: equations 1 to 6
    d = encode(segmenter, x_d)
    p_d = fuse(probabilities=probabilities(d), labels=y, alpha=alpha, aligned=True)
    x_d2n = dec_n(d, p_d, x_d)
    d2n = encode(segmenter, x_d2n)
    supervised = encode(segmenter, x_d2n.detach()) if nets.settings.detach_translated else d2n
    p_d2n = fuse(probabilities=probabilities(d2n), labels=y, alpha=alpha, aligned=True)
    terms = {
        "seg_d": supervision(d, y, weights.aux),
        "inner_d": reconstruction(output=dec_d(d, p_d, x_d), image=x_d),
        "seg_d2n": supervision(supervised, y, weights.aux),
        "percep_d": _perception(nets, x_d2n, x_d, d2n, d),
        "outer_d": reconstruction(output=dec_d(d2n, p_d2n, x_d), image=x_d),
    }

    # night, and its day reference
    n, ud = encode(segmenter, x_n), encode(segmenter, x_ud)
    x_n2d = dec_d(n, probabilities(n), x_n)
    n2d = encode(segmenter, x_n2d)
    terms |= {
        "inner_n": reconstruction(output=dec_n(n, probabilities(n), x_n), image=x_n),
        "percep_n": _perception(nets, x_n2d, x_n, n2d, n),
        "outer_n": reconstruction(output=dec_n(n2d, probabilities(n2d), x_n), image=x_n),
        "inner_ud": reconstruction(output=dec_d(ud, probabilities(ud), x_ud), image=x_ud),
    }

    # self-training: equations 8 to 10
    if tau is not None:
        night, reference = (upsample(outputs.logits, y.shape[1:], outputs.aligned) for outputs in (n, ud))
        terms["seg_ud"] = pseudo_cross_entropy(logits=reference, labels=pairs.reference_labels)
        terms["seg_n"], _ = co_teaching(night, reference, pairs, segmenter.classes, tau=tau)

    # alignment: discriminator step, then the adversarial losses (equations 3 and 7)
    loss_d = discriminator_loss(real=[d_d(x_d), d_d(x_ud)], fake=d_d(x_n2d.detach()))
    loss_n = discriminator_loss(real=[d_n(x_n)], fake=d_n(x_d2n.detach()))
    _step(loss_d + loss_n, optimizers["discriminators"])
    terms |= {"adv_d2n": generator_loss(fake=d_n(x_d2n)), "adv_n2d": generator_loss(fake=d_d(x_n2d))}

    # update (equation 11)
    total = sum(getattr(weights, name.split("_")[0]) * term for name, term in terms.items())
    _step(total, optimizers["segmenter"], optimizers["decoders"])
    return terms | {"discriminator_day": loss_d, "discriminator_night": loss_n}


def encode(segmenter: Segmenter, images: Tensor) -> Outputs:
    """Enc and F of a PSPNet, with the auxiliary head."""
    network = segmenter.network
    images = images.flip(1) if segmenter.reversed else images
    shallow = network.layer2(network.layer1(network.layer0(images * segmenter.scale + segmenter.shift)))
    middle = network.layer3(shallow)
    features = network.layer4(middle)
    pooling, classifier = network.final2
    return Outputs(shallow, network.final1(middle), classifier(pyramid(pooling, features)), features)


def instance_normalisation(normalisation: InstanceNorm2d, x: Tensor) -> Tensor:
    """InstanceNorm2d.forward by PyTorch's instance_norm."""
    return functional.instance_norm(x, eps=normalisation.eps)


def pyramid(pooling: PyramidPooling, features: Tensor) -> Tensor:
    """The head of PSPNet as in its paper: the pooled features upsampled and concatenated with the features."""
    upsampled = [
        functional.interpolate(stage(features), size=features.shape[2:], mode="bilinear", align_corners=True)
        for stage in pooling.stages
    ]
    return pooling.bottleneck(torch.cat([*upsampled, features], dim=1))


def _decoder(nets: Loops, domain: str) -> Callable[[Outputs, Tensor, Tensor], Tensor]:
    def decode(outputs: Outputs, p: Tensor, like: Tensor) -> Tensor:
        z = outputs.shallow if nets.settings.decoders.features == "layer2" else outputs.features
        return nets.decoders[domain](z, p, like.shape[2:])

    return decode


def _perception(nets: Loops, translated: Tensor, image: Tensor, outputs: Outputs, target: Outputs) -> Tensor:
    weights = nets.settings.weights
    features = feature_consistency(translated=outputs.features, original=target.features)
    return weights.z * features + weights.lpips * nets.perceptual(translated, image)


def _step(loss: Tensor, *optimizers: Optimizer) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
