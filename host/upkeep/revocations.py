"""Revocation lists that the office replaces while the agent runs: read again when the files change.

One source for both questions: whether a clip's key counts (`Revocations.standing`, by path and effective time),
and whether a camera may open a session (`serials`, as `docklink.peers.judge_camera` takes them). A list that
cannot be used, or is older than the one in force, changes nothing: what was revoked stays revoked.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography import x509

from evidence.cms import CmsSigner
from evidence.der import CertificateError
from evidence.revocation import (
    CrlFacts,
    RevocationError,
    Revocations,
    Standing,
    check_crl,
    load_crl,
    shown,
    utc_ns_of,
)

__all__ = ["RevocationFiles", "authorities_of"]

_logger = logging.getLogger(__name__)
_Stamp = tuple[tuple[int, int, int] | None, ...]


class RevocationFiles(Revocations):
    """Lists in files, as they are now. Thread-safe."""

    def __init__(
        self,
        paths: Sequence[Path],
        authorities: Sequence[x509.Certificate],
        announce: Callable[[str], object] = _logger.error,
    ) -> None:
        """Read the lists; `authorities` are the certificates that may have signed one.

        `announce` hears what is wrong with a list that is there later; it may be replaced.

        Raises:
            RevocationError: a list cannot be used.
        """
        super().__init__()
        self.announce = announce
        self._paths = tuple(paths)
        self._authorities = tuple(authorities)
        self._lock = threading.Lock()
        self._stamp = _stamp(self._paths)
        self._current, self._serials = self._read()

    @property
    def given(self) -> bool:
        """Whether there is any list."""
        self.refresh()
        return self._current.given

    @property
    def facts(self) -> tuple[CrlFacts, ...]:
        """The lists in force, the oldest first."""
        self.refresh()
        return self._current.facts

    @property
    def serials(self) -> Mapping[int, int]:
        """Serial numbers, with the time since when they count no more, nanoseconds since 1970."""
        self.refresh()
        return self._serials

    def standing(self, signer: CmsSigner, roots: Sequence[x509.Certificate]) -> Standing:
        """Look a path up, in the lists as they are now."""
        self.refresh()
        return self._current.standing(signer, roots)

    def refresh(self) -> None:
        """Read the lists again if a file has changed; what is wrong is announced, and the old ones stay."""
        with self._lock:
            stamp = _stamp(self._paths)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._current, self._serials = self._read(self._current.facts)
            except RevocationError as error:
                trouble = f"revocation lists: {error}; those from before stay in force"
            else:
                trouble = ""
        if trouble:
            self.announce(trouble)

    def _read(self, before: Sequence[CrlFacts] = ()) -> tuple[Revocations, Mapping[int, int]]:
        lists = [load_crl(path) for path in self._paths]
        now = Revocations(lists)
        _refuse_older(before, now.facts)
        serials: dict[int, int] = {}
        for each in _newest(lists):
            self._require_signed(each)
            for entry in each:
                since_ns = utc_ns_of(entry.revocation_date_utc)
                serials[entry.serial_number] = min(since_ns, serials.get(entry.serial_number, since_ns))
        return now, serials

    def _require_signed(self, crl: x509.CertificateRevocationList) -> None:
        fitting = [each for each in self._authorities if each.subject == crl.issuer]
        if not fitting:
            raise RevocationError(
                f"a list of {shown(crl.issuer)}",
                expected=" or ".join(shown(each.subject) for each in self._authorities),
                remedy="give lists of this dock's agency alone",
            )
        for each in fitting:
            try:
                check_crl(crl, each)
            except RevocationError as error:
                failure = error
            else:
                return
        raise failure


def authorities_of(roots: Sequence[x509.Certificate], chains: Sequence[Path]) -> tuple[x509.Certificate, ...]:
    """Return the roots and the intermediates of PEM chains (leaf first): who can have signed a list.

    Raises:
        CertificateError: a chain cannot be read.
    """
    found = list(roots)
    for path in chains:
        try:
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
        except OSError as error:
            raise CertificateError(f"no certificate {path}", found=error.strerror or "") from error
        except (ValueError, x509.InvalidVersion) as error:
            raise CertificateError(f"unusable certificate {path}", expected="PEM form") from error
        found += [each for each in certificates[1:] if each not in found]
    return tuple(found)


def _newest(lists: Sequence[x509.CertificateRevocationList]) -> list[x509.CertificateRevocationList]:
    """Return the list with the highest number of each issuer: the others are superseded."""
    newest: dict[x509.Name, x509.CertificateRevocationList] = {}
    for each in lists:
        other = newest.get(each.issuer)
        if other is None or _number(each) >= _number(other):
            newest[each.issuer] = each
    return list(newest.values())


def _refuse_older(before: Sequence[CrlFacts], now: Sequence[CrlFacts]) -> None:
    highest = {each.issuer: each.number for each in now}  # facts come in the order of their numbers
    for each in before:
        if highest.get(each.issuer, 0) < each.number:
            raise RevocationError(
                f"an older list of {each.issuer}",
                expected=f"number {each.number} or later",
                found=str(highest.get(each.issuer, "none")),
                remedy="copy the agency's newest list; to do without one, restart the agent",
            )


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _stamp(paths: Sequence[Path]) -> _Stamp:
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found.append(None)  # reading it says what is wrong
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
