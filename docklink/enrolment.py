"""What a camera without identity shows in TLS: a certificate that says nothing but its key.

The operator compares its fingerprint, which the dock reads off the session; so the key is new for each
enrolment and never leaves memory and one private directory.
"""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from docklink.peers import fingerprint
from docklink.tls import CameraEnrolment
from evidence.certificates import NEVER, new_key
from evidence.der import certificate_der
from evidence.storage import create_file

__all__ = ["make_enrolment"]

_EVER = datetime(1970, 1, 1, tzinfo=UTC)  # the camera may not know the time


def make_enrolment(directory: Path) -> tuple[CameraEnrolment, str]:
    """Make key and certificate in an empty directory; returns what to serve with, and the fingerprint.

    Raises:
        StorageError: a file cannot be written, or is there already.
    """
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "enrolment")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EVER)
        .not_valid_after(NEVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = CameraEnrolment(chain=directory / "enrolment.pem", key=directory / "enrolment.key")
    create_file(files.key, private)
    create_file(files.chain, certificate.public_bytes(pem))
    return files, fingerprint(certificate_der(certificate))
