"""The errors that a user can cause: one line each, saying what, where and what to do."""


class CumelError(ValueError):
    """A call that cannot be carried out. The command line prints it as one line and exits with `exit_code`."""

    exit_code = 2


class InputError(CumelError):
    """One input (a file, a clip) cannot be used; the others can."""

    exit_code = 1


class UnavailableError(CumelError):
    """Something that the call needs is missing: a GPU, a provider, a package."""

    exit_code = 3


class MissingExtraError(UnavailableError, ImportError):
    """A package of an extra is not installed: ``pip install 'cumel[train]'``. It is an ImportError as well."""

    fault = ""  # what is wrong: ``torch is not installed``
    extra = ""  # the extra that mends it
