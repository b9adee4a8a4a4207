"""Through the air, in rooms that were not seen: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _evaluating import evaluation_recipe

if __name__ == "__main__":
    evaluation_recipe(Path(__file__).parent, quick=["defenses=['none', 'air:1000-1004']", "budgets=['linf:0.01']", "clips=6", "audio='all'",
                                                    "attacks=[{name='pgd', steps=8}, {name='over_the_air', steps=12, rooms='0-9', copies=2}]"])()
