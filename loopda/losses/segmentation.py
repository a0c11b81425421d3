"""Losses of class logits against labels and pseudo-labels. Means are over the batch of all processes."""

from torch import Tensor
from torch.nn import functional

from loopda.labels.classes import IGNORE
from loopda.runtime.distributed import mean


def cross_entropy(*, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the labelled pixels of -log softmax(logits)[label]  (LoopDA, equations 1, 5, 8, 10; ours: the mean).

    logits (N, K, H, W); labels (N, H, W) integer, 255 = not labelled. In [0, inf).
    Without any labelled pixel the result is 0 and still carries a graph, so that a step needs no special case.
    The official code divides by all pixels, void ones included; this divides by the labelled ones.
    """
    return mean(_total(logits, labels), (labels != IGNORE).sum())


def pseudo_cross_entropy(*, logits: Tensor, labels: Tensor) -> Tensor:
    """As `cross_entropy`, but divided by the number of all pixels, labelled or not  (LoopDA, equations 8 and 10).

    The equations sum over pixels: a pseudo-label that covers a tenth of the image has a tenth of the weight, and the
    sparse label of equation 10 does not outweigh the dense one.
    """
    return mean(_total(logits, labels), labels.numel())


def weighted_cross_entropy(*, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Sum over the labelled pixels of w * -log softmax(logits)[label], divided by the number of all pixels.

    logits (N, K, H, W); labels (N, H, W) integer, 255 = not labelled; weights w (N, H, W) >= 0. In [0, inf).
    The loss of the mixed image in DACS (Tranheden et al., WACV 2021) and DAFormer.
    """
    pixels = functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORE, reduction="none")
    return mean((weights * pixels).sum(), labels.numel())


def semantic_consistency(*, translated: Tensor, original: Tensor) -> Tensor:
    """Mean over pixels of the cross-entropy of a translation's logits with the predicted class of its original.

    CyCADA, equation 4, one of the two terms: L_task(f, G(x), argmax f(x)). translated, original: logits (N, K, H, W)
    of the same frozen network f; the original's get no gradient. In [0, inf).
    """
    return cross_entropy(logits=translated, labels=original.detach().argmax(dim=1))


def distillation(*, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Mean over the labelled pixels of KL(teacher || student) = sum_k t_k (log t_k - log s_k), in [0, inf).

    student, teacher: logits (N, K, H, W), the teacher's without gradient. labels (N, H, W): the hard pseudo-labels, 255
    = not counted (the mask of LoopDA's distillation loss). ProDA (CVPR 2021), equation 9.
    """
    valid = labels != IGNORE
    log_teacher = functional.log_softmax(teacher.detach().float(), dim=1)
    log_student = functional.log_softmax(student.float(), dim=1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)
    return mean((divergence * valid).sum(), valid.sum())


def _total(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORE, reduction="sum")
