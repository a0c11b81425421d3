"""The batches of a training step (labelled day; night with its day references), and those of whole images.

Each of several processes makes its share of them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from loopda.data.dataset import Frames
from loopda.data.pseudo_labels import PseudoLabels
from loopda.data.sampling import batch_indices
from loopda.data.transforms import View, pack, random_view, to_images, unpack
from loopda.labels.classes import IGNORE
from loopda.randomness import generator
from loopda.runtime.distributed import round_robin, share
from loopda.runtime.signals import AGAIN, interruptible


class DayBatch(NamedTuple):
    """A labelled batch, as a step sees it: `on_device`. Before that, images and labels are bytes.

    images (N, 3, H, W) in [-1, 1]; labels (N, H, W) class indices, 255 = ignore; boxes (N, 4): where the crops lie
    in their images (View.box).
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor


class NightBatch(NamedTuple):
    """As DayBatch, of night images.

    images (N, 3, H, W); references (M, 3, H, W) of the M <= N samples that have one, `paired` (N,) bool says which;
    offline labels of both (N, H, W) and (M, H, W), all 255 where there are none; boxes (N, 4): where the crops lie in
    their images (View.box).
    """

    images: Tensor
    references: Tensor
    paired: Tensor
    labels: Tensor
    reference_labels: Tensor
    boxes: Tensor


AnyBatch = TypeVar("AnyBatch")


def on_device(batch: AnyBatch, device: torch.device) -> AnyBatch:
    """The batch, a tensor or tuples of tensors, on the device, where `unpack` makes numbers of bytes."""

    def moved(part: Tensor) -> Tensor:
        there = part.to(device, non_blocking=True)
        return unpack(there) if there.dtype == torch.uint8 else there

    return _each(moved, batch)


def pinned(batch: AnyBatch) -> AnyBatch:
    """The batch in pinned memory, from which it goes to a GPU while the program continues."""
    return _each(Tensor.pin_memory, batch)


def _each(change: Callable[[Tensor], Tensor], batch: AnyBatch) -> AnyBatch:
    if isinstance(batch, Tensor):
        return change(batch)
    parts = [_each(change, part) for part in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)


# chooses a labelled image and a view of it, by the generator of one slot of a step and the size of the crop
Draw = Callable[[np.random.Generator, tuple[int, int]], tuple[int, View]]


def day_batch(
    frames: Frames, step: int, *, batch_size: int, crop: tuple[int, int], seed: int, draw: Draw | None = None
) -> DayBatch:
    """The labelled batch of `step`: random crops and flips of all images in turn, or what `draw` chooses."""
    images, labels, boxes = [], [], []
    for slot, index in _samples(frames, step, batch_size, seed, "day"):
        if draw:
            index, view = draw(generator(seed, "drawn day", step, slot), crop)
        else:
            view = random_view(generator(seed, "day view", step, slot), size=frames.size, crop=crop)
        images.append(view.of(frames.image(index)))
        labels.append(view.of(frames.label(index)))
        boxes.append(view.box(frames.size))
    return DayBatch(pack(images), pack(labels), torch.tensor(boxes))


def night_batch(
    frames: Frames, step: int, *, batch_size: int, crop: tuple[int, int], seed: int, pseudo: PseudoLabels | None = None
) -> NightBatch:
    """The unlabelled batch of `step`: a night image, its reference and their offline labels share one view."""
    images, references, paired, labels, reference_labels, boxes = [], [], [], [], [], []
    for slot, index in _samples(frames, step, batch_size, seed, "night"):
        view = random_view(generator(seed, "night view", step, slot), size=frames.size, crop=crop)
        row = frames.rows[index]
        nothing = np.full((view.height, view.width), IGNORE, dtype=np.uint8)
        images.append(view.of(frames.image(index)))
        labels.append(view.of(pseudo.night[row.image]) if pseudo else nothing)
        boxes.append(view.box(frames.size))
        reference = frames.reference(index)
        paired.append(reference is not None)
        if reference is not None:
            references.append(view.of(reference))
            reference_labels.append(view.of(pseudo.reference[row.reference]) if pseudo else nothing)
    batch = pack(images)
    return NightBatch(
        batch,
        pack(references) if references else batch[:0],
        torch.tensor(paired),
        pack(labels),
        pack(reference_labels) if references else pack(labels)[:0],
        torch.tensor(boxes),
    )


def whole_images(
    frames: Frames,
    batch_size: int,
    device: torch.device,
    *,
    indices: Sequence[int] | None = None,
    remedy: str = AGAIN,
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """The images of `frames` in batches, without crops: their indices, and images (N, 3, H, W) in [-1, 1].

    indices: of the wanted images, by default all. Several processes take turns with the batches. After a signal,
    Interrupted with the `remedy`.
    """
    wanted = range(len(frames)) if indices is None else indices
    for first in interruptible(round_robin(range(0, len(wanted), batch_size)), remedy):
        batch = wanted[first : first + batch_size]
        yield batch, to_images([frames.image(index) for index in batch]).to(device)


def _samples(frames: Frames, step: int, batch_size: int, seed: int, stream: str) -> Sequence[tuple[int, int]]:
    """(slot in the batch of all processes, index of the image) of this process's share."""
    indices = batch_indices(count=len(frames), batch_size=batch_size, step=step, seed=seed, stream=stream)
    return share(list(enumerate(indices)))
