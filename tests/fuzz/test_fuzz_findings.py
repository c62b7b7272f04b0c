"""What fuzzing found, each with what is right; the inputs are in the corpus as `found-…`."""

import base64
import re
import struct
import tracemalloc
from pathlib import Path

import pytest

from bench.fuzz_keys import CORPUS
from bench.fuzz_signed import CMS_CONTENT
from device.config import ConfigError, parse_config
from evidence.age import AgeKeyError, generate_identity, parse_identity
from evidence.cms import CmsError, verify_cms
from evidence.der import CertificateError
from evidence.errors import EvidenceError
from evidence.media.fragments import video_samples
from evidence.paths import load_roots
from evidence.revocation import RevocationError, load_crl

CONFIG = '[device]\nid = "cam0042"\n[policy]\nrecipients = ["age1x"]\n'


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def moof(*boxes: bytes) -> memoryview:
    tfhd = box(b"tfhd", struct.pack(">II", 0, 1))
    return memoryview(box(b"moof", box(b"traf", tfhd + b"".join(boxes))))


def test_an_empty_decode_time_is_an_error() -> None:
    with pytest.raises(EvidenceError, match="malformed moof"):
        video_samples(moof(box(b"tfdt", b"")))


def test_runs_of_samples_without_a_byte_each_are_counted_together() -> None:
    run = box(b"trun", struct.pack(">II", 0, 60_000))
    assert len(video_samples(moof(run))) == 60_000
    tracemalloc.start()
    try:
        with pytest.raises(EvidenceError, match="absurd trun"):
            video_samples(moof(*[run] * 1000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


def test_look_alikes_of_a_letter_are_no_bech32() -> None:
    kelvin = "\N{KELVIN SIGN}"
    texts = (generate_identity().secret_text() for _ in range(1000))
    text = next(each for each in texts if "K" in each[16:])
    parse_identity(text)
    with pytest.raises(AgeKeyError):
        parse_identity(text[:16] + text[16:].replace("K", kelvin))


def test_a_crowd_of_certificates_is_refused_before_they_are_put_in_order() -> None:
    signature = (CORPUS / "cms" / "found-crowd").read_bytes()
    with pytest.raises(CmsError, match="certificates"):
        verify_cms(CMS_CONTENT, signature)


def test_a_list_of_a_version_that_does_not_exist_is_unusable() -> None:
    with pytest.raises(RevocationError, match="unusable"):
        load_crl(CORPUS / "crl" / "found-version")


def test_a_root_of_a_version_that_does_not_exist_is_unusable(tmp_path: Path) -> None:
    der = (CORPUS / "certificate" / "root").read_bytes()
    altered = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020151"), 1)
    armor = base64.encodebytes(altered).decode()
    root = tmp_path / "root.pem"
    root.write_text(f"-----BEGIN CERTIFICATE-----\n{armor}-----END CERTIFICATE-----\n", encoding="ascii")
    with pytest.raises(CertificateError, match="unusable root file"):
        load_roots(root)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (CONFIG + "x = " + "[" * 3000, "nested too deeply"),
        (CONFIG + "x = " + "9" * 5000, "4300 digits"),
        (CONFIG.replace("cam0042", r"cam0042\n"), "device.id"),
        (CONFIG + "limit_minutes = inf\n", "limit_minutes"),
        (CONFIG + "keep_released_hours = 1e300\n", "keep_released_hours"),
    ],
)
def test_a_configuration_is_refused_in_words(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(what)):
        parse_config(text, "device.toml")
