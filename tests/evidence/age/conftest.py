"""Shared by the age tests: identities of both kinds and one-call encryption."""

import io
from collections.abc import Callable, Iterable, Sequence

import pytest

from evidence.age import AgeWriter, PublicIdentity, Recipient, generate_identity


@pytest.fixture(scope="session")
def identity() -> PublicIdentity:
    return generate_identity()


@pytest.fixture(scope="session")
def hybrid_identity() -> PublicIdentity:
    return generate_identity(post_quantum=True)


@pytest.fixture(scope="session", params=["X25519", "mlkem768x25519"])
def any_identity(request: pytest.FixtureRequest) -> PublicIdentity:
    return generate_identity(post_quantum=request.param != "X25519")


@pytest.fixture(scope="session")
def encrypt() -> Callable[[Sequence[Recipient], Iterable[bytes]], bytes]:
    def run(recipients: Sequence[Recipient], pieces: Iterable[bytes]) -> bytes:
        file = io.BytesIO()
        writer = AgeWriter(recipients, file.write)
        for piece in pieces:
            writer.write(piece)
        writer.close()
        assert writer.ciphertext_bytes == len(file.getvalue())
        return file.getvalue()

    return run
