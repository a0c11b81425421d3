"""The contrastive loss of SimCLR."""

import torch
from torch import Tensor
from torch.nn import functional

from loopda.runtime.distributed import gather_rows


def nt_xent(*, first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of two views of the same N images (Chen et al., 2020, equation 1).

    Mean over the 2N rows of -log (exp(s_positive / temperature) / sum over the other rows of exp(s / temperature)),
    in [0, inf). s is the cosine similarity. The positive of a row is the other view of its image, the negatives are the
    2N - 2 views of other images. first, second: projections (N, D), N >= 2; row i of both is of the same image. The
    images of all processes are one batch.
    """
    first, second = gather_rows(first), gather_rows(second)
    if len(first) < 2:
        raise ValueError("nt_xent needs at least two images: the others in the batch are the negatives")
    projections = functional.normalize(torch.cat([first, second]).float(), dim=1)
    similarity = projections @ projections.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    count = len(first)
    positives = torch.arange(2 * count, device=first.device).roll(count)
    return functional.cross_entropy(similarity, positives)
