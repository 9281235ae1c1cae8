"""What goes wrong with data."""


class DataError(ValueError):
    """Text or ids that cannot be used, with what to do about it."""
