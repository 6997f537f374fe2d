"""What a profile store raises when it cannot do what it was asked for.

ProfilesUnavailableError    the store is closed, or cannot be written or reached; nothing that it was asked for is promised
ProfileDamageError          a ``ValueError``: what is in the store contradicts itself; the message says where
"""


class ProfilesUnavailableError(Exception):
    """The store is closed, or cannot be written or reached."""


class ProfileDamageError(ValueError):
    """What is in the store cannot be what a store wrote."""
