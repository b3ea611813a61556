"""The ways a command says that it could not do what was asked."""


class CommandError(Exception):
    """A failure to tell the user: the message names the object, the cause and the next step.

    `main` prints it on stderr without a trace and exits with `exit_code`.
    """

    exit_code = 1


class WrongUsage(CommandError):  # noqa: N818 - names what happened
    """The question can't be understood as it was put."""

    exit_code = 2
