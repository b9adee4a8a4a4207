"""Everyday damage beside an adversary: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _evaluating import evaluation_recipe

if __name__ == "__main__":
    evaluation_recipe(Path(__file__).parent, quick=["models=['resnet-at']", "attacks=[{name='pgd', steps=5}]", "clips=4",
                                                    "corruptions=['white', 'quiet', 'telephone']"])()
