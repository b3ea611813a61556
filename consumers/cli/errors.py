"""The one way a command says that it could not do what was asked."""


class CommandError(Exception):
    """A failure to tell the user: the message names the object, the cause and the next step.

    `main` prints it on stderr without a trace and exits with 1.
    """
