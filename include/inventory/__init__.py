"""Inventory: the list of objects that a run processes."""
