"""Codec and band-pass, oblivious beside adaptive: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _evaluating import evaluation_recipe

if __name__ == "__main__":
    evaluation_recipe(Path(__file__).parent, quick=["defenses=['none', 'mp3:32', 'bandpass:300-3400']", "budgets=['linf:0.002', 'linf:0.005']", "attacks=[{name='pgd', steps=8}]", "clips=4", "audio='all'"])()
