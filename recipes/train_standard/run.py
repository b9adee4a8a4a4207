"""Train the standard network: see README.md beside this file."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _training import training_recipe

if __name__ == "__main__":
    training_recipe(Path(__file__).parent)()
