"""Components to categories, with probabilities."""
