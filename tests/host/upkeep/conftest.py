"""An agency with the keeper of its configurations, and cameras that take certificates and configurations."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from docklink.messages import Device, RenewBegin, RenewInstall, RenewStep, SignedDocument, SigningRequest
from docklink.peers import Peer
from docklink.service import RefusalError
from evidence.agency import SubjectKind, issue_new
from evidence.certificates import new_key, self_signed_request
from evidence.cms import sign_cms
from evidence.documents import Config, ConfigRef, Gestures, Sound, decode, encode
from evidence.roles import Role
from evidence.signer import load_signer
from host.store import format_store
from host.upkeep import ConfigShelf, Renewals, RevocationFiles, Upkeep, authorities_of, load_link_ca
from tests.host.offload.conftest import OffloadBench
from tests.host.offload.fakecamera import FakeCamera
from tests.host.store.conftest import ClipFactory, Pki, clips, pki

__all__ = ["clips", "pki"]

NS_PER_S = 1_000_000_000
DAY_NS = 86_400 * NS_PER_S


class TendedCamera(FakeCamera):
    """A camera that takes what `answer_config` lets through, and any certificate."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # passed through
        self.configs: list[Config] = []
        self.in_force: ConfigRef | None = ConfigRef(version=0, sha256="0" * 64)
        self.answer_config: Callable[[Config], None] = lambda _config: None
        self.chains: list[tuple[bytes, ...]] = []
        self.key: ec.EllipticCurvePrivateKey | None = None
        self.renewal_refusal: RefusalError | None = None
        self.asked_as = self.device_id

    def device(self, peer: Peer) -> Device:
        return msgspec.structs.replace(super().device(peer), config=self.in_force)

    def config(self, peer: Peer, config: SignedDocument) -> None:
        self._note("config")
        said = decode(config.document, Config)
        self.answer_config(said)
        self.configs.append(said)
        self.in_force = ConfigRef(said.version, hashlib.sha256(config.document).hexdigest())

    def renew(self, peer: Peer, step: RenewStep) -> SigningRequest | None:
        self._note("renew")
        if self.renewal_refusal is not None:
            raise self.renewal_refusal
        if isinstance(step, RenewBegin):
            self.key = new_key()
            request = self_signed_request(self.asked_as, self.key)
            return SigningRequest(request.public_bytes(serialization.Encoding.DER))
        assert isinstance(step, RenewInstall)
        self.chains.append(step.link)
        return None


@dataclasses.dataclass
class Office:
    """Who signs configurations and revokes, and the directories where a dock finds both."""

    pki: Pki
    place: Path

    @property
    def shelf(self) -> Path:
        return self.place / "configs"

    def config(self, version: int = 7, **changes: object) -> Config:
        document = Config(
            version=version,
            devices=("cam0042",),
            recipients=(self.pki.agency.recipient,),
            window_ns=30 * NS_PER_S,
            sound=Sound(recording=True, before_press=False),
            gestures=Gestures(hold_ns=3 * NS_PER_S, confirm_stop=False, confirm_ns=5 * NS_PER_S),
            limit_ns=3600 * NS_PER_S,
            reminder_ns=0,
            stealth=False,
            hold_ns=0,
            revocations=(),
        )
        return msgspec.structs.replace(document, **changes)

    def put(self, name: str, document: Config, who: str = "config", role: Role = Role.CONFIG) -> None:
        content = encode(document)
        signer = load_signer(self.pki.directory / who, role)
        self.shelf.mkdir(exist_ok=True)
        (self.shelf / f"{name}.p7s").write_bytes(sign_cms(content, signer))
        (self.shelf / f"{name}.json").write_bytes(content)

    def revocations(self, *lists: Path) -> RevocationFiles:
        keys = self.pki.directory / "dock7"
        chains = [keys / "dock-link.pem", keys / "link-ca.pem"]
        return RevocationFiles(lists, authorities_of(self.pki.trust.roots, chains))

    def renewals(self, revocations: RevocationFiles | None = None, part: float = 0.5) -> Renewals:
        keys = self.pki.directory / "dock7"
        authority = load_link_ca(keys)
        assert authority is not None
        own = authorities_of((), [keys / "dock-link.pem"])
        return Renewals(authority, own, self.pki.trust.roots, revocations or self.revocations(), part=part)

    def upkeep(self, **options: float) -> Upkeep:
        revocations = self.revocations()
        self.shelf.mkdir(exist_ok=True)
        shelf = ConfigShelf(self.shelf, self.pki.trust.roots, revocations)
        return Upkeep(self.renewals(revocations, **options), shelf)


@pytest.fixture(scope="session")
def config_keys(pki: Pki) -> None:
    issue_new(
        SubjectKind.CONFIG, "policy", pki.directory / "agency", pki.directory / "config", now=datetime.now(UTC)
    )
    issue_new(
        SubjectKind.CONFIG, "former", pki.directory / "agency", pki.directory / "former", now=datetime.now(UTC)
    )


@pytest.fixture
def office(pki: Pki, tmp_path: Path, config_keys: None) -> Office:
    del config_keys
    return Office(pki, tmp_path)


@pytest.fixture
def bench(tmp_path: Path, pki: Pki, clips: ClipFactory) -> Iterator[OffloadBench]:
    format_store(tmp_path / "store", "dock7-a")
    made = OffloadBench(tmp_path / "store", pki, clips)
    yield made
    made.close()
