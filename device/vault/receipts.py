"""Whether a receipt is good for a clip: by whom, for which clip, for which bytes. Deletion rests on it."""

from collections.abc import Callable

from device.vault.sealed import Place, SealedFacts
from device.vault.trust import AgencyTrust, UntrustedError
from evidence.documents import Blob, NamedBlob, Receipt, Verdict, decode
from evidence.errors import EvidenceError
from evidence.roles import Role

__all__ = ["ReceiptRefusedError", "check_receipt"]

_FILES = ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s")


class ReceiptRefusedError(UntrustedError):
    """A receipt is not good; the sentence is the reason that the dock gets."""


def check_receipt(
    document: bytes, cms: bytes, facts: SealedFacts, trust: AgencyTrust, measure: Callable[[str], Blob]
) -> Receipt:
    """Check a receipt in full against a clip as it was sealed, and return it.

    A clip in quarantine differs from its manifest somewhere, or could not be read whole: there a file counts,
    too, that is signed for as it lies here now (`measure`), or whose unreadable ranges are listed. Manifest
    and signature have to be the sealed ones in any case.

    Raises:
        ReceiptRefusedError: why it is not good.
        StorageError: a file cannot be measured.
    """
    try:
        trust.verify(document, cms, Role.DOCK_RECEIPT)
        receipt = decode(document, Receipt)
    except EvidenceError as error:
        raise ReceiptRefusedError(str(error)) from error
    except UntrustedError as error:
        raise ReceiptRefusedError(str(error)) from error
    _check_place(receipt, facts.place)
    expected = {name: facts.files[name] for name in _FILES if name in facts.files}
    given = {file.name: file for file in receipt.files}
    if set(given) != set(expected):
        raise ReceiptRefusedError(
            "the receipt is not for the files of the clip",
            expected=", ".join(expected),
            found=", ".join(given),
        )
    unreadable = {each.name for each in receipt.unreadable}
    for name, figures in expected.items():
        if _same(given[name], figures):
            continue
        quarantined = receipt.verdict is Verdict.QUARANTINED and not name.startswith("manifest")
        if quarantined and (name in unreadable or _same(given[name], measure(name))):
            continue
        raise ReceiptRefusedError(
            f"the receipt is for another {name}",
            expected=f"{figures.bytes} bytes, SHA-256 {figures.sha256}",
            found=f"{given[name].bytes} bytes, SHA-256 {given[name].sha256}",
        )
    return receipt


def _check_place(receipt: Receipt, place: Place) -> None:
    for field in ("clip", "device", "epoch", "generation", "number"):
        found, expected = getattr(receipt, field), getattr(place, field)
        if found != expected:
            raise ReceiptRefusedError(
                f"the receipt is of another {field}", expected=str(expected), found=str(found)
            )


def _same(file: NamedBlob, figures: Blob) -> bool:
    return (file.bytes, file.sha256) == (figures.bytes, figures.sha256)
