"""Keys for fuzzing: those of the kept corpus, of which only certificates are left, and fresh ones.

What a signature covers a fuzzer cannot alter without breaking it. So some targets read kept files against kept
certificates, and others sign the input afresh, which takes it past the signature.
"""

import functools
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from evidence.age.x25519 import X25519Identity
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import SoftwareSigner, load_signer

__all__ = ["CORPUS", "FRESH", "Fresh", "context", "identity", "issued", "scratch"]

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
_SUBJECTS = (
    (SubjectKind.CAMERA, "cam0042", Role.CAMERA_EVIDENCE),
    (SubjectKind.DOCK, "dock7-a", Role.DOCK_RECEIPT),
    (SubjectKind.CUSTODIAN, "ann", Role.CUSTODIAN),
)


class Fresh:
    """An agency of this process with a signer for each role that a target signs with."""

    @functools.cached_property
    def parts(self) -> tuple[tuple[x509.Certificate, ...], dict[Role, SoftwareSigner]]:
        """The roots, and the signers."""
        with tempfile.TemporaryDirectory() as place:
            return issued(Path(place))

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The agency's root."""
        return self.parts[0]

    def signer(self, role: Role) -> SoftwareSigner:
        """Return who signs with that role."""
        return self.parts[1][role]


FRESH = Fresh()


def issued(place: Path) -> tuple[tuple[x509.Certificate, ...], dict[Role, SoftwareSigner]]:
    """Make an agency in a directory, with its camera, dock and custodian."""
    agency = create_agency("Fuzz", place / "agency")
    signers = {}
    for kind, subject, role in _SUBJECTS:
        issue_new(kind, subject, place / "agency", place / kind.value)
        signers[role] = load_signer(place / kind.value, role)
    return load_roots(agency.root_certificate), signers


@functools.cache
def context(name: str) -> tuple[x509.Certificate, ...]:
    """Return the kept certificates of a file: `root.pem`, or `evidence.pem`, a camera's with its issuer."""
    return tuple(x509.load_pem_x509_certificates((CORPUS / "context" / name).read_bytes()))


@functools.cache
def identity() -> X25519Identity:
    """Return the identity that opens the corpus's age files; it guards nothing."""
    return X25519Identity(hashlib.sha256(b"preroll-fuzz").digest())


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="preroll-fuzz", dir=shm if shm.is_dir() else None)


@contextmanager
def scratch(files: dict[str, bytes]) -> Iterator[Path]:
    """Put files into memory for a parser that takes a path; they are gone afterwards."""
    place = Path(_directory().name)
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    try:
        yield place
    finally:
        for name in files:
            (place / name).unlink()
