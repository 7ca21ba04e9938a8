"""Features to principal components."""
