"""What all errors have in common that end a run. Light, so that whoever tells people of them need not load the rest."""


class RunError(Exception):
    """The run cannot be completed as asked; the message is the sentence that people read."""
