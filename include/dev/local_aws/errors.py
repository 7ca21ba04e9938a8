"""Errors of local AWS."""


class LocalAwsError(Exception):
    """Local AWS could not run a command. The message is for the user: the cause and the remedy."""
