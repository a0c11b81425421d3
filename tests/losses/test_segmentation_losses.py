import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopda.losses.segmentation import cross_entropy, distillation, semantic_consistency

IGNORE = 255


def softmax(scores):
    exponentials = [math.exp(score) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def naive_cross_entropy(logits, labels):
    """Equations 1, 5, 8, 10: -sum over pixels and classes of y log p, divided by the labelled pixels."""
    total, count = 0.0, 0
    batch, classes, height, width = logits.shape
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                if labels[n, i, j] == IGNORE:
                    continue
                p = softmax(logits[n, :, i, j].tolist())
                for c in range(classes):
                    y = 1.0 if labels[n, i, j] == c else 0.0
                    total -= y * math.log(p[c])
                count += 1
    return total / count if count else 0.0


def naive_distillation(student, teacher, labels):
    """sum over k of t (log t - log s), averaged over the labelled pixels."""
    total, count = 0.0, 0
    batch, classes, height, width = student.shape
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                if labels[n, i, j] == IGNORE:
                    continue
                s, t = softmax(student[n, :, i, j].tolist()), softmax(teacher[n, :, i, j].tolist())
                total += sum(t[k] * (math.log(t[k]) - math.log(s[k])) for k in range(classes))
                count += 1
    return total / count if count else 0.0


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**31))
    batch, classes = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    draws = torch.Generator().manual_seed(seed)
    first, second = (3 * torch.randn(batch, classes, height, width, generator=draws) for _ in range(2))
    labels = torch.randint(0, classes, (batch, height, width), generator=draws)
    void = torch.rand(labels.shape, generator=draws) < draw(st.sampled_from([0.0, 0.4, 1.0]))
    return first, second, labels.masked_fill(void, IGNORE)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_cross_entropy_is_the_mean_over_labelled_pixels_of_the_papers_sum(case):
    logits, _, labels = case
    assert float(cross_entropy(logits=logits, labels=labels)) == pytest.approx(
        naive_cross_entropy(logits, labels), rel=1e-5, abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(cases())
def test_distillation_is_the_mean_over_labelled_pixels_of_the_divergence_from_the_teacher(case):
    student, teacher, labels = case
    assert float(distillation(student=student, teacher=teacher, labels=labels)) == pytest.approx(
        naive_distillation(student, teacher, labels), rel=1e-4, abs=1e-5
    )


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    labels = torch.tensor([[[0, 4, IGNORE], [2, IGNORE, 3]]])
    loss = cross_entropy(logits=torch.full((1, 5, 2, 3), 7.0), labels=labels)
    assert loss.item() == pytest.approx(1.6094379)


def test_cross_entropy_of_two_pixels_is_the_number_computed_by_hand():
    # p = (3/4, 1/4) with label 0 and (1/5, 4/5) with label 1: (log 4/3 + log 5/4) / 2 = log(5/3) / 2
    logits = torch.tensor([[3.0, 1.0], [1.0, 4.0]]).log().T.reshape(1, 2, 1, 2)
    assert float(cross_entropy(logits=logits, labels=torch.tensor([[[0, 1]]]))) == pytest.approx(0.2554128)


def test_void_pixels_do_not_dilute_the_cross_entropy():
    logits = torch.randn(1, 3, 1, 1)
    alone = cross_entropy(logits=logits, labels=torch.tensor([[[1]]]))
    labels = torch.full((1, 8, 16), IGNORE)
    labels[0, 5, 11] = 1
    among_void = cross_entropy(logits=logits.expand(1, 3, 8, 16), labels=labels)
    assert float(among_void) == pytest.approx(float(alone))


def test_the_gradient_of_the_cross_entropy_is_p_minus_y_on_labelled_pixels_and_zero_on_the_others():
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, 1], [IGNORE, 2]], [[IGNORE, IGNORE], [1, 1]]])
    cross_entropy(logits=logits, labels=labels).backward()
    for n in range(2):
        for i in range(2):
            for j in range(2):
                label = int(labels[n, i, j])
                p = softmax(logits[n, :, i, j].tolist())
                expected = [0.0 if label == IGNORE else (p[c] - (c == label)) / 5 for c in range(3)]
                assert logits.grad[n, :, i, j].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_cross_entropy_takes_labels_of_any_integer_type(dtype):
    logits, labels = torch.randn(1, 3, 2, 2), torch.tensor([[[0, IGNORE], [2, 1]]])
    assert float(cross_entropy(logits=logits, labels=labels.to(dtype))) == pytest.approx(
        naive_cross_entropy(logits, labels), rel=1e-5
    )


def test_cross_entropy_of_half_precision_logits_is_computed_in_single_precision():
    logits = torch.tensor([0.0, 30.0]).reshape(1, 2, 1, 1).half()
    loss = cross_entropy(logits=logits, labels=torch.tensor([[[0]]]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(30.0)


def test_cross_entropy_without_a_labelled_pixel_is_a_zero_that_carries_a_graph():
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = cross_entropy(logits=logits, labels=torch.full((2, 4, 5), IGNORE))
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_cross_entropy_of_no_image_at_all_is_zero():
    logits = torch.randn(0, 3, 4, 5, requires_grad=True)
    loss = cross_entropy(logits=logits, labels=torch.zeros(0, 4, 5, dtype=torch.long))
    assert loss.item() == 0
    loss.backward()


def test_distillation_of_equal_logits_is_zero_and_pulls_nowhere():
    teacher = torch.randn(2, 4, 3, 3)
    student = (teacher + 5).requires_grad_()  # softmax does not see a constant
    loss = distillation(student=student, teacher=teacher, labels=torch.zeros(2, 3, 3, dtype=torch.long))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert float(student.grad.abs().max()) < 1e-6


def test_distillation_of_one_pixel_is_the_number_computed_by_hand():
    # t = (3/4, 1/4), s = (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2; exchanged it would be 0.1438410
    teacher = torch.tensor([3.0, 1.0]).log().reshape(1, 2, 1, 1)
    loss = distillation(student=torch.zeros(1, 2, 1, 1), teacher=teacher, labels=torch.tensor([[[0]]]))
    assert loss.item() == pytest.approx(0.1308120, rel=1e-5)  # the logarithms cancel in part


def test_the_teacher_gets_no_gradient_from_distillation_and_the_student_does():
    teacher, student = (torch.randn(1, 3, 2, 2, requires_grad=True) for _ in range(2))
    distillation(student=student, teacher=teacher, labels=torch.ones(1, 2, 2, dtype=torch.long)).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_masked_pixels_have_no_influence_on_distillation():
    student, teacher = torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2)
    labels = torch.tensor([[[0, IGNORE], [2, 1]]])
    before = distillation(student=student, teacher=teacher, labels=labels)
    student, teacher = student.clone(), teacher.clone()
    student[0, :, 0, 1], teacher[0, :, 0, 1] = torch.tensor([900.0, -900, 3]), torch.tensor([-900.0, 900, 0])
    student.requires_grad_()
    after = distillation(student=student, teacher=teacher, labels=labels)
    after.backward()
    assert after.item() == pytest.approx(float(before), rel=1e-6)
    assert student.grad[0, :, 0, 1].tolist() == [0, 0, 0]


def test_distillation_without_a_labelled_pixel_is_a_zero_that_carries_a_graph():
    student = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), IGNORE)
    loss = distillation(student=student, teacher=torch.randn(1, 3, 2, 2), labels=labels)
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_semantic_consistency_is_the_cross_entropy_with_the_class_that_the_original_had():
    # equation 4 of CyCADA: L_task(f, G(x), argmax f(x))
    translated, original = torch.randn(2, 2, 5, 3, 4)
    total = 0.0
    for n in range(2):
        for i in range(3):
            for j in range(4):
                before = original[n, :, i, j].tolist()
                after = softmax(translated[n, :, i, j].tolist())
                total -= math.log(after[before.index(max(before))])
    value = semantic_consistency(translated=translated, original=original)
    assert float(value) == pytest.approx(total / 24, rel=1e-5)


def test_semantic_consistency_of_two_pixels_is_the_number_computed_by_hand():
    original = torch.tensor([[5.0, 1.0], [2.0, 3.0]]).reshape(1, 2, 1, 2)  # classes 0 and 1
    translated = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]).reshape(1, 2, 1, 2)  # 1/2 and 1/4 for them
    value = semantic_consistency(translated=translated, original=original)
    assert float(value) == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_semantic_consistency_of_no_image_is_zero_with_a_graph():
    translated = torch.zeros(0, 3, 4, 4, requires_grad=True)
    value = semantic_consistency(translated=translated, original=torch.zeros(0, 3, 4, 4))
    assert float(value.detach()) == 0
    value.backward()
    assert translated.grad.numel() == 0


def test_semantic_consistency_raises_the_old_class_in_the_translation_and_leaves_the_original_alone():
    translated, original = (torch.randn(1, 3, 2, 2, requires_grad=True) for _ in range(2))
    semantic_consistency(translated=translated, original=original).backward()
    assert original.grad is None
    old = torch.nn.functional.one_hot(original.argmax(dim=1), 3).permute(0, 3, 1, 2).bool()
    assert (translated.grad[old] < 0).all()
    assert (translated.grad[~old] > 0).all()
