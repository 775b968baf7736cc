"""The one exception that is meant for a person: a single line that says what to do."""


class UserError(Exception):
    """Something the user can mend. The message is one line: file, field, found, expected, what to do.

    The command line prints it without a traceback and exits with status 1.
    """
