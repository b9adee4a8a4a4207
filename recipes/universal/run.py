"""One waveform for every clip: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _evaluating import evaluation_recipe

if __name__ == "__main__":
    evaluation_recipe(Path(__file__).parent, quick=["budgets=['linf:0.01']", "attacks=[{name='universal', steps=12, batch=16}, 'noise']", "clips=6", "audio='all'"])()
