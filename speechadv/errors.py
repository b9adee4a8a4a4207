"""The errors that users see: one line, exit status 2, no traceback."""


class SpeechAdvError(Exception):
    """Something outside the program is wrong: a file, an option, a config. The message is one line that says what to do."""


class InputError(SpeechAdvError):
    """A file or value that a user passed cannot be used."""


class ConfigError(SpeechAdvError):
    """A name, keyword or config key is unknown or has a wrong value."""


class DataError(SpeechAdvError):
    """A data folder is missing, empty or contradicts itself."""


def shown(thing: object) -> str:
    """A file name or other foreign text as it may stand in a message: control characters escaped, never more than one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in str(thing))
