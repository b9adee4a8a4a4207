"""One loop for standard and adversarial training."""
