"""How anyone repeats each check with `age`, `openssl` and `sha256sum`, for one clip, with its figures.

The commands are for a POSIX shell in the clip's directory. `root.pem` is the agency's root certificate, had
from the agency itself, `identity.txt` what opens the clip. `signer.pem` and `signer.pub` are made by the first
ones.
"""

import msgspec

from evidence.check import CIPHERTEXT
from evidence.documents import Manifest
from evidence.handover import ORIGINAL_HEADER
from evidence.roles import Role

__all__ = ["NOTHING", "Command", "question", "repeat"]

NOTHING = "nothing"
"""What a command prints that says nothing if all is well."""


class Command(msgspec.Struct, frozen=True):
    """A line for a shell, and what it has to print."""

    run: str
    expect: str


_QUESTIONS = {
    "signature": "Is the manifest what someone signed?",
    "certificate": "Does that someone count as a camera of the agency?",
    "form": "Is the manifest in its one form?",
    "identity": "Are certificate, manifest and directory of one device and clip?",
    "journal": "Is each line of the journal signed by that camera and chained to the one before?",
    "intervals": "Is each stretch of the encrypted file the one that its line names?",
    "ciphertext": "Is the whole encrypted file the one that the manifest names?",
    "header": "Is its header the one that the manifest names?",
    "agreement": "Does the manifest say what follows from journal and bytes?",
    "receipt": "Did a store of the agency sign for just these files?",
    "revocation": "Did the camera's key count when the clip was made?",
    "handover": "Is the header of a handed-over clip the one that a custodian signed for?",
    "completeness": "Did the clip end in an orderly way, with all its bytes there?",
    "plaintext": "Does it decrypt to what the manifest names?",
    "media": "Does all of it decode?",
}
_VERIFY = "openssl cms -verify -binary -inform DER -in {p7s} -content {json} -CAfile root.pem -out /dev/null"
_ORIGINAL = "original.age"
_GOOD = "CMS Verification successful"
_JOURNAL_SIGNATURES = r"""while IFS= read -r line; do
  value=${line#'{"l":'}; value=${value%',"s":"'*}; sig=${line##*',"s":"'}
  printf %s "${sig%'"}'}" | base64 -d > line.sig
  printf 'preroll-journal-v1\0%s' "$value" |
    openssl dgst -sha256 -verify signer.pub -signature line.sig || break
done < journal.jsonl | sort | uniq -c"""
_JOURNAL_CHAIN = r"""previous=; while IFS= read -r line; do
  case $line in *"\"previous\":\"$previous\""*) ;; *) [ -z "$previous" ] || echo broken ;; esac
  previous=$(printf '%s\n' "$line" | sha256sum | cut -c1-64)
done < journal.jsonl"""
_INTERVALS = r"""from=0
sed -nE 's/.*"ciphertext_bytes":([0-9]+),.*"interval":"([0-9a-f]{64})".*/\1 \2/p' journal.jsonl |
while read -r to sum; do
  tail -c +$((from+1)) ORIGINAL | head -c $((to-from)) | sha256sum | grep -q "^$sum" ||
    echo "differs: bytes $from to $to"
  from=$to
done"""


def question(name: str) -> str:
    """Return what a check asks, in words; the name itself for one that is not known here."""
    return _QUESTIONS.get(name, name)


def repeat(name: str, manifest: Manifest, new_header_bytes: int | None = None) -> tuple[Command, ...]:
    """Return the commands that repeat one check; none where it is done by reading, or needs Preroll.

    Args:
        name: the check.
        manifest: the clip's manifest.
        new_header_bytes: of a clip that was handed over, the length of the header before its payload.
    """
    match name:
        case "signature" | "receipt" | "handover":
            return (_cms("manifest" if name == "signature" else name),)
        case "certificate":
            return _certificate(manifest)
        case "journal":
            return _journal(manifest)
        case "intervals" | "ciphertext" | "header" | "plaintext" if manifest.ciphertext is not None:
            return _BYTES[name](manifest, new_header_bytes)
        case _:
            return ()


def _intervals(manifest: Manifest, new_header_bytes: int | None) -> tuple[Command, ...]:
    del manifest
    if new_header_bytes is None:
        return (Command(_INTERVALS.replace("ORIGINAL", CIPHERTEXT), NOTHING),)
    joined = Command(f"{_joined(new_header_bytes)} > {_ORIGINAL}", NOTHING)
    return (joined, Command(_INTERVALS.replace("ORIGINAL", _ORIGINAL), NOTHING))


def _ciphertext(manifest: Manifest, new_header_bytes: int | None) -> tuple[Command, ...]:
    assert manifest.ciphertext is not None  # `repeat` has looked
    digest = manifest.ciphertext.sha256
    if new_header_bytes is None:
        return (Command(f"sha256sum {CIPHERTEXT}", f"{digest}  {CIPHERTEXT}"),)
    return (Command(f"{_joined(new_header_bytes)} | sha256sum", f"{digest}  -"),)


def _header(manifest: Manifest, new_header_bytes: int | None) -> tuple[Command, ...]:
    if manifest.header is None:
        return ()
    file = CIPHERTEXT if new_header_bytes is None else ORIGINAL_HEADER
    return (Command(f"head -c {manifest.header.bytes} {file} | sha256sum", f"{manifest.header.sha256}  -"),)


def _plaintext(manifest: Manifest, new_header_bytes: int | None) -> tuple[Command, ...]:
    del new_header_bytes
    if manifest.plaintext is None:
        return ()
    return (Command(f"age -d -i identity.txt {CIPHERTEXT} | sha256sum", f"{manifest.plaintext.sha256}  -"),)


_BYTES = {"intervals": _intervals, "ciphertext": _ciphertext, "header": _header, "plaintext": _plaintext}


def _joined(new_header_bytes: int) -> str:
    return f"(cat {ORIGINAL_HEADER}; tail -c +{new_header_bytes + 1} {CIPHERTEXT})"


def _cms(stem: str) -> Command:
    return Command(_VERIFY.format(p7s=f"{stem}.p7s", json=f"{stem}.json"), _GOOD)


def _certificate(manifest: Manifest) -> tuple[Command, ...]:
    verify = _VERIFY.format(p7s="manifest.p7s", json="manifest.json")
    return (
        Command(f"{verify} -signer signer.pem", _GOOD),
        Command(
            "openssl x509 -in signer.pem -noout -subject -ext extendedKeyUsage",
            f"CN = {manifest.device}, and the purpose {Role.CAMERA_EVIDENCE.oid} (camera-evidence)",
        ),
    )


def _journal(manifest: Manifest) -> tuple[Command, ...]:
    lines = manifest.journal.lines
    whole = f"{manifest.journal.sha256}  journal.jsonl"
    return (
        Command("sha256sum journal.jsonl", whole),
        Command("openssl x509 -in signer.pem -noout -pubkey > signer.pub", NOTHING),
        Command(_JOURNAL_SIGNATURES, f"{lines} Verified OK"),
        Command(_JOURNAL_CHAIN, NOTHING),
    )
