"""Evaluation: a grid of models, defenses, threats, attacks and budgets; one row a clip and cell, scored from the saved files."""
