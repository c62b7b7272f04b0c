"""Sealing: the manifest and its signature, published so that a crash at any step leaves nothing to doubt."""

from pathlib import Path

from evidence.documents import Manifest, encode
from evidence.signer import Signer
from evidence.storage import publish_file

__all__ = ["seal_clip"]


def seal_clip(directory: Path, manifest: Manifest, signer: Signer) -> None:
    """Sign a manifest and publish `manifest.p7s`, then `manifest.json`, whose presence means sealed.

    A `manifest.p7s` alone is the remains of a crash between the two and is replaced.

    Raises:
        StorageError: storage refuses; the clip is not sealed, and sealing may be tried again.
    """
    from evidence.cms import sign_cms  # noqa: PLC0415  # brings X.509, 60 ms of CPU: no first frame waits for it

    document = encode(manifest)
    publish_file(directory / "manifest.p7s", sign_cms(document, signer))
    publish_file(directory / "manifest.json", document)
