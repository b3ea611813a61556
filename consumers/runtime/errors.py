"""Failures that the person who runs a process can mend."""


class OperatorError(Exception):
    """The message names the object, the cause and the next step; a trace would only hide it."""
