"""Verifying many clips at once: each clip, the signed documents beside them, and the numbers of each camera."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from evidence.age import Identity
from evidence.attestations import Signed, read_disposal, read_head, read_tombstone
from evidence.check import CheckReport, check_sealed_clip
from evidence.clock import format_utc, parse_utc
from evidence.custody.ofclip import HeldCheckpoint
from evidence.documents import ClipStart, Disposal, Head, Manifest, Receipt
from evidence.errors import EvidenceError
from evidence.findings import Check, Finding, Outcome, UnknownAnswer, answer, finding_of, worst
from evidence.holdings import Holdings, claimed_start
from evidence.numbering import Account, Fact, HeadFact, Place, account
from evidence.revocation import RevocationError, Revocations

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Circumstances", "ClipVerdict", "DocumentVerdict", "Survey", "survey"]


class Circumstances(msgspec.Struct, frozen=True):
    """What a verification goes by: the agency's roots, revocation lists, identities that open clips.

    `checkpoints` of custody logs were kept by others than the stores.
    """

    roots: "tuple[x509.Certificate, ...]"
    revocations: Revocations = msgspec.field(default_factory=Revocations)
    identities: tuple[Identity, ...] = ()
    checkpoints: tuple[HeldCheckpoint, ...] = ()
    advance: Callable[[int], object] = lambda _: None


class ClipVerdict(msgspec.Struct, frozen=True):
    """One clip; its place in the numbering is a claim unless it is authentic, `None` where nothing says it."""

    path: Path
    clip: str
    place: Place | None
    number: int | None
    finding: Finding
    checks: tuple[Check, ...]


class DocumentVerdict(msgspec.Struct, frozen=True):
    """One head, tombstone or disposal."""

    path: Path
    kind: str
    finding: Finding
    detail: str


class Survey(msgspec.Struct, frozen=True):
    """All that was found; numbers are missing only from vaults and stores, forks count among lone clips too."""

    clips: tuple[ClipVerdict, ...]
    documents: tuple[DocumentVerdict, ...]
    accounts: tuple[Account, ...]

    @property
    def finding(self) -> Finding:
        """The answer over everything: a fork is not authentic, a missing number is incomplete."""
        return worst(
            (
                *(each.finding for each in self.clips),
                *(each.finding for each in self.documents),
                *(Finding.NOT_AUTHENTIC for each in self.accounts if each.forks),
                *(Finding.INCOMPLETE for each in self.accounts if each.missing),
            )
        )


def survey(holdings: Sequence[Holdings], circumstances: Circumstances) -> Survey:
    """Verify everything that the holdings list; clips on all cores, results in their order.

    What cannot be read is a result, not an error.
    """
    facts: list[Fact] = []
    heads: list[HeadFact] = []
    assessed: set[Place] = set()
    clips: list[ClipVerdict] = []
    documents: list[DocumentVerdict] = []
    stores = frozenset(each.store for each in holdings if each.store)
    for each in holdings:
        verdicts = list(_clips(each.clips, circumstances))
        clips += [verdict for verdict, _ in verdicts]
        found = [fact for _, fact in verdicts if fact]
        judge = _Documents(circumstances, stores)
        documents += judge.all_of(each)
        found += judge.facts
        facts += found
        heads += judge.heads
        if each.root:
            assessed |= {fact.place for fact in found} | {head.place for head in judge.heads}
    accounts = [
        each if each.place in assessed else msgspec.structs.replace(each, missing=())
        for each in account(facts, heads)
        if each.place in assessed or each.forks
    ]
    return Survey(clips=tuple(clips), documents=tuple(documents), accounts=tuple(accounts))


def _clips(paths: Sequence[Path], circumstances: Circumstances) -> Iterator[tuple[ClipVerdict, Fact | None]]:
    judge = functools.partial(_clip, circumstances=circumstances)
    if len(paths) == 1:
        yield judge(paths[0])
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(judge, paths)


def _clip(path: Path, circumstances: Circumstances) -> tuple[ClipVerdict, Fact | None]:
    try:
        report = check_sealed_clip(
            path,
            circumstances.roots,
            revocations=circumstances.revocations,
            identities=circumstances.identities,
            checkpoints=circumstances.checkpoints,
            advance=circumstances.advance,
        )
        said: Manifest | ClipStart | None = report.manifest or claimed_start(path)
    except OSError as error:
        unreadable = Check(
            "reading", Outcome.MISSING, f"{error.strerror or error}: {Path(str(error.filename)).name}"
        )
        report, said = CheckReport(path.resolve().name, (unreadable,), None), None
    fact = _fact(path, report, said) if said else None
    verdict = ClipVerdict(
        path=path,
        clip=report.clip,
        place=fact.place if fact else None,
        number=fact.number if fact else None,
        finding=report.finding,
        checks=report.checks,
    )
    return verdict, fact


def _fact(path: Path, report: CheckReport, said: Manifest | ClipStart) -> Fact:
    place = Place(device=said.device, generation=said.generation, epoch=said.epoch)
    proven = report.finding in (Finding.AUTHENTIC, Finding.INCOMPLETE)
    if not proven or not isinstance(said, Manifest):
        return Fact(place=place, number=said.number, kind="unproven", source=str(path))
    return _manifest_fact(said, "here", str(path), report.manifest_sha256)


def _manifest_fact(manifest: Manifest, kind: str, source: str, manifest_sha256: str | None) -> Fact:
    return Fact(
        place=Place(device=manifest.device, generation=manifest.generation, epoch=manifest.epoch),
        number=manifest.number,
        kind=kind,
        source=source,
        start_sha256=manifest.start_sha256,
        previous_start=manifest.start.previous_start,
        manifest_sha256=manifest_sha256,
    )


class _Documents:
    """Judges the signed documents of one vault or store, and gathers what they say of numbers."""

    def __init__(self, circumstances: Circumstances, stores: frozenset[str]) -> None:
        self._circumstances = circumstances
        self._stores = stores
        self.facts: list[Fact] = []
        self.heads: list[HeadFact] = []

    def all_of(self, holdings: Holdings) -> list[DocumentVerdict]:
        """Judge all documents."""
        kinds = (
            ("tombstone", holdings.tombstones, self._tombstone),
            ("disposal", holdings.disposals, self._disposal),
            ("head", holdings.heads, self._head),
        )
        return [_verdict(path, kind, judge) for kind, paths, judge in kinds for path in paths]

    def _tombstone(self, path: Path) -> str:
        try:
            stone = read_tombstone(path, self._circumstances.roots)
            self._check_tombstone_keys(stone.manifest_signed, stone.receipt_signed, stone.receipt)
        except (EvidenceError, FileNotFoundError, UnknownAnswer):
            self._claim(path)
            raise
        here = stone.receipt.store in self._stores
        digest = hashlib.sha256(stone.manifest_signed.content).hexdigest()
        self.facts.append(_manifest_fact(stone.manifest, "known" if here else "elsewhere", str(path), digest))
        return f"number {stone.manifest.number}, {stone.receipt.verdict} by {stone.receipt.store}"

    def _disposal(self, path: Path) -> str:
        disposal, signed = read_disposal(path, self._circumstances.roots)
        place = _place(disposal)
        try:
            self._refuse_revoked(signed)
        except UnknownAnswer:
            self.facts.append(Fact(place=place, number=disposal.number, kind="unproven", source=str(path)))
            raise
        self.facts.append(
            Fact(
                place=place,
                number=disposal.number,
                kind="disposed",
                source=str(path),
                manifest_sha256=disposal.manifest_sha256,
            )
        )
        reason = ascii(disposal.reason)[1:-1]
        return f"number {disposal.number}, by {disposal.operator} at {disposal.utc}: {reason}"

    def _head(self, path: Path) -> str:
        head, signed = read_head(path, self._circumstances.roots)
        self.heads.append(
            HeadFact(
                place=_place(head),
                number=head.number,
                start_sha256=head.start_sha256,
                utc=head.utc,
                source=str(path),
            )
        )
        revoked = self._revoked_utc_ns(signed)
        # A head can only show that more is missing, so one of a revoked key still counts, and says so.
        note = "" if revoked is None else f"; its key is revoked from {format_utc(revoked)} on"
        return f"number {head.number} at {head.utc or 'an unknown time'}{note}"

    def _claim(self, path: Path) -> None:
        start = claimed_start(path)
        if start:
            self.facts.append(Fact(place=_place(start), number=start.number, kind="unproven", source=str(path)))

    def _check_tombstone_keys(self, camera: Signed, dock: Signed, receipt: Receipt) -> None:
        self._refuse_revoked(dock)
        revoked = self._revoked_utc_ns(camera)
        if revoked is not None and parse_utc(receipt.utc) >= revoked:
            raise EvidenceError(
                "the key was revoked before the clip was first seen",
                expected=format_utc(revoked),
                found=receipt.utc,
            )

    def _refuse_revoked(self, signed: Signed) -> None:
        revoked = self._revoked_utc_ns(signed)
        if revoked is not None:
            raise UnknownAnswer(
                f"the key of {signed.identity.subject_id} is revoked from {format_utc(revoked)} on,"
                " and nobody independent attests when it signed"
            )

    def _revoked_utc_ns(self, signed: Signed) -> int | None:
        revocations = self._circumstances.revocations
        try:
            return revocations.standing(signed.signer, self._circumstances.roots).revoked_utc_ns
        except RevocationError as error:
            raise UnknownAnswer(str(error)) from error


def _verdict(path: Path, kind: str, judge: Callable[[Path], str]) -> DocumentVerdict:
    try:
        check = answer(kind, lambda: judge(path))
    except OSError as error:
        check = Check(kind, Outcome.MISSING, error.strerror or str(error))
    return DocumentVerdict(path=path, kind=kind, finding=finding_of((check,)), detail=check.detail)


def _place(document: ClipStart | Head | Disposal) -> Place:
    return Place(device=document.device, generation=document.generation, epoch=document.epoch)
