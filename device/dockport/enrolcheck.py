"""Whether an offered identity may become the camera's: everything is judged before anything is written."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.dockport.enrolstore import NewIdentity
from device.identity import EnrolmentFacts
from device.policy import PolicyError, policy_of
from device.vault.configstore import PushedConfig, read_config
from device.vault.trust import AgencyTrust, UntrustedError
from docklink.messages import EnrolInstall, SignedDocument
from docklink.peers import fingerprint
from docklink.service import RefusalError
from evidence.der import CertificateError, load_certificate
from evidence.errors import EvidenceError
from evidence.paths import load_roots, verify_path
from evidence.policies import ConfigFieldError, recipients_of
from evidence.roles import Role

__all__ = ["PendingKeys", "check_identity", "load_trusted"]


class PendingKeys(msgspec.Struct, frozen=True):
    """What `begin` made and was told; the keys are in memory and nowhere else."""

    facts: EnrolmentFacts
    evidence: ec.EllipticCurvePrivateKey
    link: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        """Name them, and keep the keys to themselves."""
        return f"PendingKeys({self.facts.device!r})"


def load_trusted(path: Path) -> tuple[x509.Certificate, ...] | None:
    """Return the roots that a camera was given before its enrolment, `None` if it will take any.

    Raises:
        CertificateError: there is a file, and no usable certificate in it.
    """
    return load_roots(path) if path.exists() else None


def check_identity(
    offer: EnrolInstall, pending: PendingKeys, vault: Path, trusted: Sequence[x509.Certificate] | None
) -> NewIdentity:
    """Judge an offer in full; returns what is to be kept.

    Args:
        offer: what the dock sends.
        pending: the keys that it is for.
        vault: root of the vault; a configuration in it, of an earlier life, is not gone back behind.
        trusted: see `load_trusted`.

    Raises:
        RefusalError: 403, 409 or 422, naming the field.
    """
    anchor = _anchor(offer.anchors, pending.facts.agency_fingerprint, trusted)
    trust = AgencyTrust((anchor,))
    device = pending.facts.device
    evidence, evidence_path = _chain(offer.evidence, trust, Role.CAMERA_EVIDENCE, device, pending.evidence)
    link, link_path = _chain(offer.link, trust, Role.CAMERA_LINK, device, pending.link)
    config, recipients = _policy(offer, trust, device, {*evidence_path, *link_path})
    _check_history(vault, config, trust, device)
    return NewIdentity(
        facts=pending.facts,
        evidence_key=_key_pem(pending.evidence),
        evidence_chain=_chain_pem(evidence),
        link_key=_key_pem(pending.link),
        link_chain=_chain_pem(link),
        anchors=_chain_pem((anchor,)),
        recipients=recipients,
        config=config,
    )


def _anchor(
    anchors: Sequence[bytes], agency_fingerprint: str, trusted: Sequence[x509.Certificate] | None
) -> x509.Certificate:
    """Return the root: the one whose fingerprint people were shown, and no second one beside it."""
    if len(anchors) != 1:
        raise _refusal(422, "anchors", "one root", f"{len(anchors)}")
    try:
        anchor = load_certificate(anchors[0])
        anchor.verify_directly_issued_by(anchor)
    except (CertificateError, InvalidSignature, ValueError, TypeError) as error:
        raise _refusal(422, "anchors", "a self-signed root", str(error) or "a bad signature") from error
    shown = fingerprint(anchors[0])
    if shown != agency_fingerprint:
        raise _refusal(403, "anchors", f"the root that `begin` told, {agency_fingerprint}", shown)
    if trusted is not None and anchor not in trusted:
        raise _refusal(403, "anchors", "the root that this camera was given beforehand", shown)
    return anchor


def _chain(
    chain: Sequence[bytes], trust: AgencyTrust, role: Role, device: str, key: ec.EllipticCurvePrivateKey
) -> tuple[tuple[x509.Certificate, ...], tuple[int, ...]]:
    """Return the certificates, and the serial numbers of the path."""
    field = role.file_stem
    try:
        certificates = tuple(load_certificate(der) for der in chain)
        identity = verify_path(certificates[0], certificates[1:], trust.roots, role, None)
    except EvidenceError as error:
        raise _refusal(403, field, f"a {role} certificate below the anchor", str(error)) from error
    if identity.subject_id != device:
        raise _refusal(403, field, f"a certificate for {device}", identity.subject_id)
    if certificates[0].public_key() != key.public_key():
        raise _refusal(403, field, "a certificate for the key of the last `begin`", "another key")
    return certificates, identity.serials


def _policy(
    offer: EnrolInstall, trust: AgencyTrust, device: str, serials: set[int]
) -> tuple[PushedConfig | None, tuple[str, ...]]:
    """Return the configuration, if one came, and who can open the clips."""
    if offer.config is None:
        texts = offer.recipients or ()
        try:
            recipients_of(texts)
        except ConfigFieldError as error:
            raise RefusalError(422, str(error), field=error.field) from error
        return None, texts
    return _signed_policy(offer.config, trust, device, serials)


def _signed_policy(
    signed: SignedDocument, trust: AgencyTrust, device: str, serials: set[int]
) -> tuple[PushedConfig, tuple[str, ...]]:
    try:
        trust.verify(signed.document, signed.cms, Role.CONFIG)
        policy = policy_of(signed.document, device)
    except UntrustedError as error:
        raise _refusal(403, "config", "a configuration that the agency signed", str(error)) from error
    except PolicyError as error:
        raise RefusalError(422, str(error), field=f"config.{error.field}") from error
    if serials & {int(each.serial, 16) for each in policy.document.revocations}:
        raise _refusal(422, "config.revocations", "none of the new certificates", "one of them")
    return PushedConfig(signed.document, signed.cms), policy.document.recipients


def _check_history(vault: Path, config: PushedConfig | None, trust: AgencyTrust, device: str) -> None:
    """Refuse another agency's vault, and a configuration that is not newer than the one in it."""
    try:
        old = read_config(vault)
    except EvidenceError as error:
        raise RefusalError(409, f"the vault's configuration cannot be read: {error}") from error
    if old is None:
        return
    try:
        trust.verify(old.document, old.cms, Role.CONFIG)
        kept = policy_of(old.document, device).document.version
    except (UntrustedError, PolicyError) as error:
        raise RefusalError(
            409, f"the vault holds a configuration that is not for this camera: {error}; format the vault"
        ) from error
    if config is not None and policy_of(config.document, device).document.version <= kept:
        raise _refusal(409, "config.version", f"one after {kept}, as in the vault", "an older or the same")


def _refusal(status: int, field: str, expected: str, found: str) -> RefusalError:
    return RefusalError(status, f"{field}: expected {expected}, found {found[:300]}", field=field)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _chain_pem(chain: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
