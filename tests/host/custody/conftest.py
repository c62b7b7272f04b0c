"""The agency and dock key of the store's tests."""

from tests.host.store.conftest import pki

__all__ = ["pki"]
