import pytest
import torch
from torch import nn

from loopda.training.optimizer import adam, descend
from loopda.training.schedule import linear, poly, set_learning_rate


def test_the_poly_rule_of_power_one_falls_in_equal_steps():
    assert [poly(step, steps=4, power=1.0) for step in (1, 2, 3, 4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(("step", "factor"), [(1, 1.0), (51, 0.5358867), (76, 0.28717459), (100, 0.01584893)])
def test_the_poly_rule_of_the_lineage_has_the_values_computed_by_hand(step, factor):
    # (1 - (step - 1) / 100) ** 0.9: 0.5 ** 0.9, 0.25 ** 0.9, 0.01 ** 0.9
    assert poly(step, steps=100, power=0.9) == pytest.approx(factor, rel=1e-6)


def test_the_learning_rate_is_never_zero_or_above_its_start():
    factors = [poly(step, steps=1000, power=0.9) for step in range(1, 1001)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] > 0
    assert max(factors) == 1


def test_the_linear_rule_stays_and_then_falls_in_equal_steps_towards_zero():
    assert [linear(step, steps=8, constant=0.5) for step in range(1, 9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert [linear(step, steps=4, constant=0.0) for step in range(1, 5)] == [1, 0.75, 0.5, 0.25]
    assert {linear(step, steps=4, constant=1.0) for step in range(1, 5)} == {1}


def test_power_zero_keeps_the_learning_rate():
    assert {poly(step, steps=7, power=0.0) for step in range(1, 8)} == {1.0}


def test_during_warm_up_the_factor_also_rises_in_equal_steps():
    found = [poly(step, steps=10, power=1.0, warmup=4) for step in range(1, 7)]
    assert found == pytest.approx([1 * 0.25, 0.9 * 0.5, 0.8 * 0.75, 0.7, 0.6, 0.5])


def test_each_group_keeps_its_share_of_the_learning_rate():
    backbone, head = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [backbone], "lr": 0.1}, {"params": [head], "lr": 1.0}]
    for group in groups:
        group["initial_lr"] = group["lr"]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    for factor in (0.5, 0.25, 1.0):
        set_learning_rate(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * factor, factor])


def test_a_step_follows_the_gradient_of_its_own_loss_only():
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.5) for part in (first, second)]
    with torch.no_grad():
        first.weight.fill_(2)
        second.weight.fill_(3)
    first.weight.grad = torch.full((1, 1), 100.0)  # left over from another loss
    descend(first.weight.sum() * 4 + second.weight.sum(), *optimizers)
    assert first.weight.item() == 2 - 0.5 * 4
    assert second.weight.item() == 3 - 0.5


def test_adam_of_several_networks_owns_all_their_parameters_at_one_rate():
    networks = nn.Linear(2, 3), nn.Linear(3, 1)
    (group,) = adam(networks, 0.01).param_groups
    assert [id(value) for value in group["params"]] == [id(v) for part in networks for v in part.parameters()]
    assert (group["lr"], group["initial_lr"], group["betas"]) == (0.01, 0.01, (0.5, 0.999))
