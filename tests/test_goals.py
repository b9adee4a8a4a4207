"""What an attack wants: losses against torch's own, and when it is reached."""
import pytest
import torch
from torch.nn.functional import cross_entropy

from speechadv.errors import ConfigError
from speechadv.goals import Misclassify, Target, Towards, check_loss


@pytest.fixture
def logits():
    return 3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(1))


def test_cross_entropy_rises_towards_the_goal(logits, labels):
    expected = cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(Misclassify(labels).loss(logits), expected)
    torch.testing.assert_close(Target(labels).loss(logits), -expected)


def test_the_margin_is_a_difference_of_logits(logits, labels):
    for row, label in enumerate(labels.tolist()):
        others = torch.cat([logits[row, :label], logits[row, label + 1 :]])
        expected = logits[row, label] - others.max()
        assert Target(labels).loss(logits, "margin")[row] == expected
        assert Misclassify(labels).loss(logits, "margin")[row] == -expected


@pytest.mark.parametrize("kind", [Misclassify, Target])
def test_the_margin_is_positive_exactly_where_the_goal_is_reached(kind, logits, labels):
    goal = kind(labels)
    reached = goal.reached(logits)
    assert reached.any() and not reached.all()
    assert torch.equal(goal.loss(logits, "margin") > 0, reached)


def test_reached(logits, labels):
    assert torch.equal(Target(labels).reached(logits), logits.argmax(1) == labels)
    assert torch.equal(Misclassify(labels).reached(logits), ~Target(labels).reached(logits))


def test_towards_goes_one_way_and_takes_any(logits, labels):
    goal = Towards(labels, (labels + 1) % 5)
    rows = torch.arange(200)
    assert torch.equal(goal.loss(logits), logits[rows, (labels + 1) % 5] - logits[rows, labels])
    assert torch.equal(goal.reached(logits), Misclassify(labels).reached(logits))


@pytest.mark.parametrize("index", [torch.tensor([3, 1]), torch.arange(200) % 7 == 0])
def test_select(index, logits, labels):
    for goal in (Misclassify(labels), Target(labels), Towards(labels, (labels + 2) % 5)):
        part = goal.select(index)
        assert type(part) is type(goal) and len(part) == len(labels[index])
        assert torch.equal(part.loss(logits[index], "margin"), goal.loss(logits, "margin")[index])


@pytest.mark.parametrize("kind", ["cross_entropy", "margin"])
def test_gradients_are_finite_for_confident_networks(kind, labels):
    logits = (1e4 * torch.randn(200, 5, generator=torch.Generator().manual_seed(2))).requires_grad_()
    for goal in (Misclassify(labels), Target(labels)):
        (gradient,) = torch.autograd.grad(goal.loss(logits, kind).sum(), logits)
        assert gradient.isfinite().all()


def test_the_name_of_a_loss():
    assert check_loss("margin") == "margin"
    with pytest.raises(ConfigError, match="cross_entropy, margin, got 'hinge'"):
        check_loss("hinge")
