"""The signed head, and the new epoch of a camera that is behind its own past (restored from an old card)."""

import concurrent.futures
from collections.abc import Callable

from device.dockport.camera import DockedCamera
from device.vault.trust import AgencyTrust, UntrustedError
from docklink.messages import SignedDocument
from docklink.service import RefusalError
from evidence.clock import format_utc
from evidence.cms import sign_cms
from evidence.documents import EpochGrant, Head, decode, encode
from evidence.errors import EvidenceError
from evidence.roles import Role

__all__ = ["NumberDesk"]

_LOG_WAIT_S = 5.0


class NumberDesk:
    """Heads out, grants in."""

    def __init__(self, camera: DockedCamera, trust: Callable[[], AgencyTrust]) -> None:
        self._camera = camera
        self._trust = trust

    def head(self) -> SignedDocument:
        """Sign how far the numbering has come."""
        numbering = self._camera.vault.numbering()
        mapping = self._camera.clock.read()
        facts = numbering.facts
        document = encode(
            Head(
                device=facts.device,
                epoch=facts.epoch,
                generation=facts.generation,
                number=numbering.number,
                start_sha256=numbering.start_sha256,
                log=self._camera.log.head,
                boot=self._camera.boot,
                monotonic_ns=mapping.monotonic_ns,
                utc=None if mapping.utc_ns is None else format_utc(mapping.utc_ns),
            )
        )
        return SignedDocument(document, sign_cms(document, self._camera.signer))

    def open_epoch(self, signed: SignedDocument) -> SignedDocument:
        """Open a new epoch if a dock has seen a later head than ours; returns the new head."""
        try:
            signer = self._trust().verify(signed.document, signed.cms, Role.DOCK_RECEIPT)
            grant = decode(signed.document, EpochGrant)
        except (UntrustedError, EvidenceError) as error:
            raise RefusalError(403, str(error)) from error
        if (grant.device, grant.dock) != (self._camera.device, signer.subject_id):
            raise RefusalError(403, "for another camera, or by another dock than the one that signed it")
        if self._camera.recording:
            raise RefusalError(409, "recording")
        if not self._is_behind(grant):
            raise RefusalError(409, "this camera is not behind that head")
        facts = self._camera.vault.begin_epoch(grant.generation)
        detail: dict[str, str | int | bool | None] = {
            "dock": grant.dock,
            "seen_epoch": grant.epoch,
            "seen_generation": grant.generation,
            "seen_number": grant.number,
            "seen_start": grant.start_sha256,
            "epoch": facts.epoch,
            "generation": facts.generation,
        }
        logged = self._camera.log.post("epoch", self._camera.clock.read().monotonic_ns, detail, urgent=True)
        concurrent.futures.wait([logged], _LOG_WAIT_S)  # so that the head names the line that names the epoch
        return self.head()

    def _is_behind(self, grant: EpochGrant) -> bool:
        """Whether a head shows a past that this camera does not have.

        One of an earlier generation shows nothing: a new epoch names it already.
        """
        numbering = self._camera.vault.numbering()
        if grant.generation != numbering.facts.generation:
            return grant.generation > numbering.facts.generation
        if grant.epoch != numbering.facts.epoch or grant.number > numbering.number:
            return True
        return grant.number == numbering.number and grant.start_sha256 != numbering.start_sha256
