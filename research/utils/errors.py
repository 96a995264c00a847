"""The message of an error in one line."""


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its type if it has no message.

    Example:
        >>> first_line(ValueError("the file is damaged\\nat byte 3")), first_line(KeyboardInterrupt())
        ('the file is damaged', 'KeyboardInterrupt')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
