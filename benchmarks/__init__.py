"""Measurements run by hand: what the features tell, and how fast they are."""
