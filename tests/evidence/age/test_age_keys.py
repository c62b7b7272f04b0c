"""Recipients and identities as text, and what a file key goes through."""

import hashlib

import pytest
from pytest_mock import MockerFixture

from evidence.age import (
    AgeHeaderError,
    AgeKeyError,
    AgeNoIdentityError,
    Header,
    Identity,
    PassphraseIdentity,
    PublicIdentity,
    Stanza,
    bech32,
    check_one_kind,
    generate_identity,
    identity_file_text,
    open_header,
    parse_header,
    parse_identities,
    parse_identity,
    parse_recipient,
    parse_recipients,
    seal_header,
)

FILE_KEY = bytes(range(16))
# The examples of the C2SP age specification.
X25519_SECRET = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
X25519_PUBLIC = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
# A pair of the age project's command tests; the recipient has 1,959 characters.
HYBRID_SECRET = "AGE-SECRET-KEY-PQ-16XDSLZ3XCSZ3236YJ5J0T9NAPLZTP96LJKQCVHJYUDTQVJR5J5PQTDPQCX"
HYBRID_PUBLIC_SHA256 = "d41cb81cf6b9a2c10a03a72ac63893a57667341760b8ecf00ccb3f0b0ca81853"


def test_the_specifications_x25519_identity_has_its_recipient() -> None:
    identity = parse_identities(X25519_SECRET)[0]
    assert identity.kind == "X25519"
    assert str(_public(identity).recipient()) == X25519_PUBLIC
    assert _public(identity).secret_text() == X25519_SECRET


def test_ages_hybrid_identity_has_its_recipient() -> None:
    identity = _public(parse_identity(HYBRID_SECRET))
    recipient = str(identity.recipient())
    assert recipient.startswith(
        "age1pq1044e3hfmq2tltgck54m0gnpv8rfrwkdxjgl38psnwg8zfyv4uqdu63kk0u94ztt0q35k9dzu"
    )
    assert hashlib.sha256(recipient.encode()).hexdigest() == HYBRID_PUBLIC_SHA256
    assert identity.secret_text() == HYBRID_SECRET


def test_generated_keys_read_back(any_identity: PublicIdentity) -> None:
    text = identity_file_text(any_identity, created_utc="2026-11-22T03:54:53Z")
    again = _public(parse_identities(text)[0])
    assert again.secret_text() == any_identity.secret_text()
    assert parse_recipient(str(any_identity.recipient())) == any_identity.recipient()
    assert text.splitlines()[1] == f"# public key: {any_identity.recipient()}"


def test_no_secret_in_a_representation(any_identity: PublicIdentity) -> None:
    secret = any_identity.secret_text()
    assert secret not in repr(any_identity)
    assert secret not in str(any_identity)
    assert "open sesame" not in repr(PassphraseIdentity(b"open sesame"))


def test_identity_files_skip_comments_and_blank_lines() -> None:
    text = f"# a comment\r\n\n{X25519_SECRET}\r\n\n# {X25519_SECRET}\n{HYBRID_SECRET}"
    assert [identity.kind for identity in parse_identities(text)] == ["X25519", "mlkem768x25519"]


def test_recipient_files_name_the_bad_line() -> None:
    assert len(parse_recipients(f"# two agencies\n{X25519_PUBLIC}\n{X25519_PUBLIC}\n")) == 2
    with pytest.raises(AgeKeyError, match=r"^line 3: "):
        parse_recipients(f"# one\n{X25519_PUBLIC}\nage1nonsense\n")


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "\n"])
def test_a_file_without_a_key_is_an_error(text: str) -> None:
    with pytest.raises(AgeKeyError, match="found none"):
        parse_identities(text)


@pytest.mark.parametrize(
    "text",
    [
        X25519_SECRET.lower(),
        X25519_SECRET[:-1] + "Q",
        X25519_SECRET + " ",
        X25519_PUBLIC,
        "AGE-PLUGIN-YUBIKEY-1GFPYYSJZ",
        bech32.encode("AGE-SECRET-KEY-", bytes(31)),
        bech32.encode("AGE-SECRET-KEY-PQ-", bytes(33)),
    ],
)
def test_what_is_no_identity_is_refused_and_never_quoted(text: str) -> None:
    with pytest.raises(AgeKeyError) as caught:
        parse_identities(f"{text}\n")
    assert text[20:40] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        X25519_PUBLIC.upper(),
        X25519_PUBLIC[:-1] + "q",
        X25519_SECRET,
        bech32.encode("age", bytes(31)),
        bech32.encode("age", bytes(32)),  # low order: no secret would come of it
        bech32.encode("age1pq", bytes(1215)),
        bech32.encode("age1pq", bytes(1216)),  # its X25519 half is of low order
        bech32.encode("age1pq", b"\xff" * 1184 + bytes([9, *bytes(31)])),  # coefficients out of range
        "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e",
        "ssh-ed25519 AAAA",
        "",
    ],
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(AgeKeyError):
        parse_recipient(text)


def test_kinds_are_not_mixed(identity: PublicIdentity, hybrid_identity: PublicIdentity) -> None:
    with pytest.raises(AgeKeyError, match="X25519 and mlkem768x25519"):
        seal_header(FILE_KEY, [identity.recipient(), hybrid_identity.recipient()])
    with pytest.raises(AgeKeyError, match="found none"):
        check_one_kind([])


def test_every_recipient_gets_the_file_key(any_identity: PublicIdentity) -> None:
    other = generate_identity(post_quantum=any_identity.kind != "X25519")
    header = parse_header(seal_header(FILE_KEY, [any_identity.recipient(), other.recipient()]))
    assert open_header(header, [any_identity]) == FILE_KEY
    assert open_header(header, [other]) == FILE_KEY
    assert [stanza.kind for stanza in header.stanzas] == [any_identity.kind] * 2


def test_a_stranger_is_told_so(any_identity: PublicIdentity) -> None:
    header = parse_header(seal_header(FILE_KEY, [any_identity.recipient()]))
    strangers: list[Identity] = [
        generate_identity(),
        generate_identity(post_quantum=True),
        PassphraseIdentity(b"x"),
    ]
    with pytest.raises(AgeNoIdentityError, match="no given identity"):
        open_header(header, strangers)
    with pytest.raises(AgeNoIdentityError):
        open_header(header, [])


def test_two_wrappings_of_one_key_share_nothing(any_identity: PublicIdentity) -> None:
    first, second = (any_identity.recipient().wrap(FILE_KEY) for _ in range(2))
    assert first.args[1] != second.args[1]
    assert first.body != second.body


@pytest.mark.parametrize("kind", ["p256tag", "mlkem768p256tag"])
def test_tagged_recipients_are_refused_with_the_reason(kind: str, identity: PublicIdentity) -> None:
    header = Header(stanzas=(Stanza(args=(kind, "AAAAAA", "AA"), body=bytes(32)),), mac=bytes(32), raw=b"\n---")
    with pytest.raises(AgeNoIdentityError, match="tagged recipients need the hardware key"):
        open_header(header, [identity])


def test_a_tagged_recipient_beside_ours_does_no_harm(identity: PublicIdentity) -> None:
    from evidence.age.envelope import _mac_key
    from evidence.age.header import serialise

    tagged = Stanza(args=("p256tag", "AAAAAA", "AA"), body=bytes(32))
    raw = serialise((tagged, identity.recipient().wrap(FILE_KEY)), _mac_key(FILE_KEY))
    assert open_header(parse_header(raw), [identity]) == FILE_KEY


def test_a_passphrase_needs_a_character_and_its_cost_is_bounded() -> None:
    with pytest.raises(AgeKeyError, match="empty"):
        PassphraseIdentity(b"")
    costly = Stanza(args=("scrypt", "AAAAAAAAAAAAAAAAAAAAAA", "9" * 5000), body=bytes(32))
    with pytest.raises(AgeHeaderError, match="too much work"):
        PassphraseIdentity(b"x").unwrap([costly])


def test_too_little_memory_for_a_passphrase_is_said(mocker: MockerFixture) -> None:
    mocker.patch("cryptography.hazmat.primitives.kdf.scrypt.Scrypt", side_effect=MemoryError)
    stanza = Stanza(args=("scrypt", "AAAAAAAAAAAAAAAAAAAAAA", "20"), body=bytes(32))
    with pytest.raises(AgeNoIdentityError, match="1024 MiB"):
        PassphraseIdentity(b"x").unwrap([stanza])


def test_a_file_key_has_16_bytes(identity: PublicIdentity) -> None:
    with pytest.raises(AgeHeaderError):
        seal_header(bytes(32), [identity.recipient()])


def _public(identity: Identity) -> PublicIdentity:
    assert hasattr(identity, "recipient")
    return identity  # type: ignore[return-value]  # it has a recipient, as just asserted
