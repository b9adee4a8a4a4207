"""Targeted PGD under three budgets: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _evaluating import evaluation_recipe

if __name__ == "__main__":
    evaluation_recipe(Path(__file__).parent, quick=["models=['resnet']", "attacks=[{name='pgd', steps=10}]", "clips=6", "audio='all'"])()
