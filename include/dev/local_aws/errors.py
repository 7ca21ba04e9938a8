"""What local AWS says when it cannot do what was asked."""


class LocalAwsError(Exception):
    """One sentence for the user: what went wrong and what to do."""
