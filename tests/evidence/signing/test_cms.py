"""CMS signatures: made for OpenSSL, read in one profile only."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from evidence.cms import CMS_LIMIT_BYTES, CmsError, sign_cms, verify_cms
from evidence.errors import EvidenceError
from evidence.paths import PathError, verify_signed
from evidence.roles import Role
from evidence.signer import _ORDER, SoftwareSigner

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import Pki

CONTENT = b'{"type":"preroll-head-v1"}'
TWENTY_YEARS_S = 20 * 31_557_600


def test_what_is_signed_verifies(pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    found = verify_cms(CONTENT, sign_cms(CONTENT, signer))
    assert (found.leaf, *found.intermediates) == signer.chain
    identity = verify_signed(
        CONTENT, sign_cms(CONTENT, signer), pki.roots, Role.CAMERA_EVIDENCE, time.time_ns()
    )
    assert (identity.role, identity.subject_id) == (Role.CAMERA_EVIDENCE, "cam0042")


def test_every_flipped_bit_is_refused(pki: "Pki") -> None:
    good = sign_cms(CONTENT, pki.signer(Role.CAMERA_EVIDENCE))
    roots = pki.roots
    accepted = []
    for bit in range(len(good) * 8):
        altered = bytearray(good)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            verify_signed(CONTENT, bytes(altered), roots, Role.CAMERA_EVIDENCE, None)
        except EvidenceError:
            continue
        accepted.append(bit)
    assert accepted == []


def test_every_flipped_bit_of_the_content_is_refused(pki: "Pki") -> None:
    good = sign_cms(CONTENT, pki.signer(Role.CAMERA_EVIDENCE))
    for bit in range(len(CONTENT) * 8):
        altered = bytearray(CONTENT)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CmsError, match="not of these bytes"):
            verify_cms(bytes(altered), good)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_cut_off_or_longer_is_refused(pki: "Pki", cut: int) -> None:
    good = sign_cms(CONTENT, pki.signer(Role.CAMERA_EVIDENCE))
    with pytest.raises(CmsError):
        verify_cms(CONTENT, good[:cut])
    with pytest.raises(CmsError):
        verify_cms(CONTENT, good + good[:1])


def test_too_long_is_refused_unread() -> None:
    with pytest.raises(CmsError, match="too long"):
        verify_cms(CONTENT, bytes(CMS_LIMIT_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_cms_error(data: bytes) -> None:
    with pytest.raises(CmsError):
        verify_cms(CONTENT, data)


def test_the_other_of_the_two_signature_values_is_refused(pki: "Pki") -> None:
    """From (r, s) anyone can make (r, order - s), which is as good to ECDSA and other bytes to a digest."""

    class Malleated(SoftwareSigner):
        def sign_digest(self, digest: bytes) -> bytes:
            r, s = decode_dss_signature(super().sign_digest(digest))
            return encode_dss_signature(r, _ORDER - s)

    signer = pki.signer(Role.CAMERA_EVIDENCE)
    with pytest.raises(CmsError, match="one form"):
        verify_cms(CONTENT, sign_cms(CONTENT, Malleated(signer._private_key, signer.chain)))


def test_a_certificate_that_is_not_on_the_path_is_refused(pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    stray = pki.signer(Role.DOCK_RECEIPT).chain[0]
    with pytest.raises(CmsError, match="no path"):
        verify_cms(CONTENT, sign_cms(CONTENT, SoftwareSigner(signer._private_key, (*signer.chain, stray))))


def test_the_root_inside_is_refused(pki: "Pki") -> None:
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    signed = sign_cms(CONTENT, SoftwareSigner(signer._private_key, (*signer.chain, *pki.roots)))
    with pytest.raises(PathError, match="root"):
        verify_signed(CONTENT, signed, pki.roots, Role.CAMERA_EVIDENCE, None)


def test_another_profile_is_refused_though_openssl_takes_it(pki: "Pki") -> None:
    """`cryptography`'s own builder adds signingTime and S/MIME capabilities."""
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    other = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(CONTENT)
        .add_signer(signer.chain[0], signer._private_key, hashes.SHA256())
        .add_certificate(signer.chain[1])
        .sign(
            serialization.Encoding.DER,
            [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary],
        )
    )
    with pytest.raises(CmsError):
        verify_cms(CONTENT, other)


def test_a_certificate_with_unused_bits_in_its_signature_is_refused(pki: "Pki") -> None:
    """The issuer's signature does not cover that octet, and a lenient parser ignores it."""
    signer = pki.signer(Role.CAMERA_EVIDENCE)
    good = sign_cms(CONTENT, signer)
    value = signer.chain[0].signature
    at = good.index(b"\x00" + value)
    unused = (value[-1] & -value[-1]).bit_length() - 1 if value[-1] else 7
    altered = bytearray(good)
    altered[at] = max(unused, 1)
    with pytest.raises(EvidenceError):
        verify_signed(CONTENT, bytes(altered), pki.roots, Role.CAMERA_EVIDENCE, None)


@pytest.fixture
def signed_files(tmp_path: Path, pki: "Pki") -> tuple[Path, Path]:
    content, signature = tmp_path / "manifest.json", tmp_path / "manifest.p7s"
    content.write_bytes(CONTENT)
    signature.write_bytes(sign_cms(CONTENT, pki.signer(Role.CAMERA_EVIDENCE)))
    return content, signature


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("later_s", [None, TWENTY_YEARS_S])
def test_openssl_accepts_it_now_and_in_twenty_years(
    pki: "Pki", signed_files: tuple[Path, Path], later_s: int | None
) -> None:
    content, signature = signed_files
    at = [] if later_s is None else ["-attime", str(int(time.time()) + later_s)]
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signature)]
    command += ["-content", str(content), "-CAfile", str(pki.agency.root_certificate), "-out", "/dev/null", *at]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_refuses_other_bytes(pki: "Pki", signed_files: tuple[Path, Path]) -> None:
    content, signature = signed_files
    content.write_bytes(CONTENT + b" ")
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signature)]
    command += ["-content", str(content), "-CAfile", str(pki.agency.root_certificate), "-out", "/dev/null"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
