"""The age v1 encryption format (https://c2sp.org/age): writing, reading, seeking, keys.

Writing takes X25519 and post-quantum hybrid recipients; reading also takes passphrases and ASCII armor.
"""

from evidence.age.envelope import open_header, payload_key, seal_header
from evidence.age.errors import (
    AgeArmorError,
    AgeChunkError,
    AgeError,
    AgeHeaderError,
    AgeKeyError,
    AgeNoIdentityError,
    AgeStateError,
    AgeTruncatedError,
)
from evidence.age.header import Header, Stanza, parse_header
from evidence.age.keyfiles import (
    check_one_kind,
    generate_identity,
    identity_file_text,
    parse_identities,
    parse_identity,
    parse_recipient,
    parse_recipients,
)
from evidence.age.keys import Identity, PublicIdentity, Recipient
from evidence.age.passphrase import PassphraseIdentity
from evidence.age.reader import AgeReader, DecryptResult, decrypt_file, salvage_file
from evidence.age.seek import AgePlaintext, read_header
from evidence.age.stream import CHUNK_BYTES, Sink
from evidence.age.writer import AgeWriter

__all__ = [
    "CHUNK_BYTES",
    "AgeArmorError",
    "AgeChunkError",
    "AgeError",
    "AgeHeaderError",
    "AgeKeyError",
    "AgeNoIdentityError",
    "AgePlaintext",
    "AgeReader",
    "AgeStateError",
    "AgeTruncatedError",
    "AgeWriter",
    "DecryptResult",
    "Header",
    "Identity",
    "PassphraseIdentity",
    "PublicIdentity",
    "Recipient",
    "Sink",
    "Stanza",
    "check_one_kind",
    "decrypt_file",
    "generate_identity",
    "identity_file_text",
    "open_header",
    "parse_header",
    "parse_identities",
    "parse_identity",
    "parse_recipient",
    "parse_recipients",
    "payload_key",
    "read_header",
    "salvage_file",
    "seal_header",
]
