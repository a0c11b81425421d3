"""The teacher: the average it is, that it never drops anything, and that its state is all of it."""

import copy

import pytest
import torch
from checkpoints import small_network

from loopda.labels.classes import CITYSCAPES
from loopda.models.segmenter import Segmenter
from loopda.training.ema import Teacher

NETWORKS = {"pspnet": {}, "daformer": {"encoder": "mit_tiny", "drop_path": 0.5}}


@pytest.fixture(params=NETWORKS)
def student(request):
    torch.manual_seed(0)
    return Segmenter(small_network(name=request.param, dropout=0.5, **NETWORKS[request.param]), CITYSCAPES).train()


def moved(student, by):
    with torch.no_grad():
        for value in student.parameters():
            value += by * torch.randn_like(value)


def test_the_teacher_follows_the_papers_recursion_and_starts_as_a_copy(student):
    teacher = Teacher(student, 0.7)
    expected = None
    for t in range(6):
        moved(student, 0.1)
        teacher.update_parameters(student)
        alpha = min(1 - 1 / (t + 1), 0.7)
        now = [value.detach().double() for value in student.parameters()]
        old = expected or now
        expected = [alpha * before + (1 - alpha) * value for before, value in zip(old, now, strict=True)]
    found = [value.double() for value in teacher.module.parameters()]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def test_the_teacher_gives_the_same_images_the_same_answer_whatever_the_generator_says(student):
    teacher = Teacher(student, 0.9)
    images = torch.rand(2, 3, 32, 48)
    teacher.update_parameters(student)
    for mode in (True, False):
        teacher.train(mode)
        answers = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            answers.append(teacher(images).logits)
        assert torch.equal(*answers)
    student.train()
    assert not torch.equal(student(images).logits, student(images).logits)


def test_nothing_teaches_the_teacher_but_the_average(student):
    teacher = Teacher(student, 0.9)
    assert not any(value.requires_grad for value in teacher.parameters())
    assert teacher(torch.rand(1, 3, 32, 32)).logits.grad_fn is None
    assert all(value.requires_grad for value in student.parameters())


def test_a_teacher_goes_on_from_its_state_as_if_it_had_not_stopped(student):
    teacher, again = Teacher(student, 0.9), None
    start = copy.deepcopy(student)
    for t in range(6):
        if t == 3:
            again = Teacher(start, 0.9)
            again.load_state_dict(copy.deepcopy(teacher.state_dict()))
        moved(student, 0.1)
        teacher.update_parameters(student)
        if again:
            again.update_parameters(student)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in teacher.state_dict().items())
    restarted = Teacher(start, 0.9)
    restarted.update_parameters(student)
    pairs = zip(teacher.parameters(), restarted.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
