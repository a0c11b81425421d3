"""No adaptation: supervised training on the labelled day goes on for as many steps as the other methods have.

The control of every comparison: a gain from more training alone is not a gain of a method.
"""

from typing import Literal

from loopda.config import Section
from loopda.data.batches import DayBatch, NightBatch
from loopda.methods.method import Losses, Method, supervision
from loopda.models.segmenter import Segmenter


class SourceOnlySettings(Section):
    """The section `methods.source_only`, which has no keys."""

    name: Literal["source_only"]


class SourceOnly(Method):
    """Cross-entropy on the labelled day, and nothing else (equation 1 of LoopDA)."""

    def losses(self, segmenter: Segmenter, day: DayBatch, night: NightBatch, step: int, steps: int) -> Losses:
        seg_d = supervision(segmenter(day.images, aux=False), day.labels, 0)
        return Losses(seg_d, {"seg_d": seg_d})
