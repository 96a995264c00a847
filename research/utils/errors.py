"""The message of an error in one line, or in a few words."""


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its type if it has no message.

    Example:
        >>> first_line(ValueError("the file is damaged\\nat byte 3")), first_line(KeyboardInterrupt())
        ('the file is damaged', 'KeyboardInterrupt')
    """
    return (str(error).splitlines() or [type(error).__name__])[0]


def reason_of(error: BaseException) -> str:
    """Return what the operating system says about an `OSError`, or else the first line of the message.

    Example:
        >>> reason_of(FileNotFoundError(2, "No such file", "a.png")), reason_of(ValueError("it is no image"))
        ('No such file', 'it is no image')
    """
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)
