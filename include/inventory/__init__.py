"""The inventory: the list of objects that a run reads."""
