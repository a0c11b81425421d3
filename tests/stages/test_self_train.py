import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.data.batches import NightBatch
from loopda.labels.classes import CITYSCAPES, IGNORE
from loopda.stages.self_train import co_teaching

STATIC, DYNAMIC, SSC = range(0, 11), range(11, 19), (5, 6, 7)
ROAD, POLE, SIGN, SKY, CAR = 0, 5, 7, 10, 13
SIZE = (3, 4)


def naive_cross_entropy(logits, labels):
    """Sum of -log p[label] over the labelled pixels of a list of maps, divided by the number of all pixels."""
    values = []
    for image, label in zip(logits, labels, strict=True):
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                if label[i][j] != IGNORE:
                    scores = image[:, i, j].tolist()
                    largest = max(scores)
                    total = math.log(sum(math.exp(score - largest) for score in scores)) + largest
                    values.append(total - scores[label[i][j]])
    return sum(values) / (len(labels) * SIZE[0] * SIZE[1]) if labels else 0.0


def naive_lor(night, reference):
    """Equation 9."""
    a = [l_n in SSC for row in night for l_n in row]
    b = [l_ud in SSC for row in reference for l_ud in row]
    both = sum(in_a and in_b for in_a, in_b in zip(a, b, strict=True))
    return 2 * both / (sum(a) + sum(b)) if any(a + b) else 0.0


def naive_co_teaching(night_logits, reference_logits, pairs, tau):
    """Equation 10: CE with the offline label (dynamic and SSC, given a reference) and with the online one."""
    offline, online, lors = [], [], []
    references = iter(reference_logits)
    for n, paired in enumerate(pairs.paired.tolist()):
        rows = pairs.labels[n].tolist()
        if not paired:
            offline.append(rows)
            online.append([[IGNORE] * SIZE[1] for _ in range(SIZE[0])])
            continue
        offline.append([[c if c in DYNAMIC or c in SSC else IGNORE for c in row] for row in rows])
        l_n, l_ud = night_logits[n].argmax(0).tolist(), next(references).argmax(0).tolist()
        lor = naive_lor(l_n, l_ud)
        lors.append(lor)
        label = []
        for row_n, row_ud in zip(l_n, l_ud, strict=True):
            both = list(zip(row_n, row_ud, strict=True))
            static = [b if a in STATIC and b in STATIC else IGNORE for a, b in both]
            agreed = [y if y == a else IGNORE for y, a in zip(static, row_n, strict=True)]
            label.append(static if lor >= tau else agreed)
        online.append(label)
    return naive_cross_entropy(night_logits, offline) + naive_cross_entropy(night_logits, online), lors


def batch(labels, paired):
    images, paired = torch.zeros(len(labels), 3, *SIZE), torch.tensor(paired)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * len(labels))
    return NightBatch(images, images[paired], paired, labels, labels[paired], boxes)


def logits_of(labels, strength=4.0):
    """Logits (N, 19, h, w) whose argmax is `labels`, with some unevenness."""
    labels = torch.as_tensor(labels)
    onehot = torch.nn.functional.one_hot(labels, 19).permute(0, 3, 1, 2).float()
    draws = torch.Generator().manual_seed(int(labels.sum()))
    return strength * onehot + torch.rand(onehot.shape, generator=draws)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.lists(st.booleans(), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([(0, 5, 7, 13), (5, 6), tuple(range(19)), (0, 11)]),
)
def test_co_teaching_is_equation_10_for_any_mixture_of_pairs(seed, paired, tau, classes):
    draws = torch.Generator().manual_seed(seed)

    def maps(count):
        return torch.tensor(classes)[torch.randint(0, len(classes), (count, *SIZE), generator=draws)]

    night = maps(len(paired))
    reference = torch.where(torch.rand(night.shape, generator=draws) < 0.6, night, maps(len(paired)))
    labels = maps(len(paired)).masked_fill(torch.rand(night.shape, generator=draws) < 0.4, IGNORE)
    pairs = batch(labels, paired)
    night_logits, reference_logits = logits_of(night), logits_of(reference[pairs.paired])
    loss, lor = co_teaching(night_logits, reference_logits, pairs, CITYSCAPES, tau=tau)
    expected, lors = naive_co_teaching(night_logits, reference_logits, pairs, tau)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert lor.tolist() == pytest.approx(lors, abs=1e-6)


def one(value):
    return torch.full((1, *SIZE), value)


@pytest.mark.parametrize(
    ("offline", "kept"),
    [(CAR, True), (POLE, True), (SIGN, True), (ROAD, False), (SKY, False), (IGNORE, False)],
)
def test_the_offline_label_of_a_pair_teaches_dynamic_and_shift_sensitive_classes_only(offline, kept):
    # the predictions are dynamic, so the online label is void
    logits = logits_of(one(CAR)).requires_grad_()
    loss, _ = co_teaching(logits, logits_of(one(CAR)), batch(one(offline), [True]), CITYSCAPES, tau=0.5)
    loss.backward()
    assert (loss.item() > 0) == kept
    assert (float(logits.grad.abs().sum()) > 0) == kept


def test_a_night_image_without_a_reference_keeps_every_class_of_its_offline_label():
    logits = torch.zeros(1, 19, *SIZE)
    loss, lor = co_teaching(logits, logits[:0], batch(one(ROAD), [False]), CITYSCAPES, tau=0.5)
    assert loss.item() == pytest.approx(math.log(19))
    assert lor.shape == (0,)


def test_a_pixel_with_both_labels_is_taught_by_two_cross_entropies():
    # offline says car; both predictions say road, so online says road
    logits = logits_of(one(ROAD))
    loss, lor = co_teaching(logits, logits_of(one(ROAD)), batch(one(CAR), [True]), CITYSCAPES, tau=0.5)
    log_p = logits.log_softmax(dim=1)
    assert loss.item() == pytest.approx(-(log_p[:, CAR].mean() + log_p[:, ROAD].mean()).item(), rel=1e-5)
    assert lor.tolist() == [0.0]


def test_each_reference_is_compared_with_its_own_night_image():
    night = torch.stack([one(ROAD)[0], one(POLE)[0], one(SKY)[0]])
    reference = torch.stack([one(SIGN)[0], one(ROAD)[0]])  # of the second and the third
    pairs = batch(torch.full((3, *SIZE), IGNORE), [False, True, True])
    _, lor = co_teaching(logits_of(night), logits_of(reference), pairs, CITYSCAPES, tau=0.5)
    assert lor.tolist() == [1.0, 0.0]


@pytest.mark.fault(24, "a batch without a label has a loss of 0, not NaN")
def test_without_any_label_co_teaching_is_a_zero_that_carries_a_graph():
    logits = logits_of(one(CAR)).requires_grad_()
    loss, _ = co_teaching(logits, logits_of(one(ROAD)), batch(one(IGNORE), [True]), CITYSCAPES, tau=0.5)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_co_teaching_does_not_teach_the_reference():
    night, reference = logits_of(one(ROAD)).requires_grad_(), logits_of(one(ROAD)).requires_grad_()
    loss, lor = co_teaching(night, reference, batch(one(CAR), [True]), CITYSCAPES, tau=0.0)
    loss.backward()
    assert reference.grad is None
    assert night.grad.abs().sum() > 0
    assert not lor.requires_grad
