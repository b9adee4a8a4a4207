"""Fast adversarial training: a single step, from a random start."""
from .at import AT


class Fast(AT):
    """AT with one step of 1.25 budgets from a random start (Wong, Rice & Kolter 2020, arXiv:2001.03994, algorithm 3). `steps` says in which epochs it attacks, not
    how often. May end in catastrophic overfitting; the guard then goes back and the adversary takes a step more, all of them together 1.25 budgets long.
    """

    name, guarded = "fast", True

    def steps(self, epoch: int, strength: int = 0) -> int:
        return (strength or 1) if self.settings.steps_at(epoch) else 0

    def step_size(self, steps: int) -> float:
        return self.settings.step_size or 1.25 / steps
