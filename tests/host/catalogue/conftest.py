"""A dock as in the tests of the store, for what the catalogue says of it."""

from tests.host.store.conftest import clips, file_dock, pki, root

__all__ = ["clips", "file_dock", "pki", "root"]
