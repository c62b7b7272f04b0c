"""One camera, one bay, one window of time: from the first hello to an identity that the camera has kept."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from docklink.client import DockClient, RequestLimit, open_session
from docklink.errors import LinkError, LinkTimeoutError, PeerRefusedError, StreamError
from docklink.httpclient import AnswerError
from docklink.limits import Timeouts
from docklink.messages import EnrolBegin, EnrolInstall, SignedDocument, SigningRequests
from docklink.peers import fingerprint
from docklink.tls import DockEnrolment, DockTrust
from evidence.clock import format_utc
from evidence.der import certificate_der
from evidence.errors import EvidenceError, ExplainedError
from host.bays import Way
from host.enrol.errors import EnrolError, UncertainError
from host.enrol.issuing import AgencyDesk, Issued
from host.enrol.machine import TRANSITIONS, Outcome, Step
from host.enrol.register import Confirmation, EnrolmentRecord, RecordEvent, Register

__all__ = ["Enroller", "Enrolment", "Policy", "Shown", "Wanted"]

_log = logging.getLogger(__name__)
_AGAIN_S = 0.3
_LINE_S = 5.0
_FORBIDDEN, _LATER = 403, 503
_ENDINGS = (Step.ENROLLED, Step.FAILED, Step.UNCERTAIN)


class Policy(msgspec.Struct, frozen=True):
    """What the camera goes by at first: a signed configuration, or the recipients alone."""

    config: SignedDocument | None
    recipients: tuple[str, ...] | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which camera is to become which, where.

    `usb` is the number that USB shows there, if any; `known` says where the id was met before, or is empty.
    """

    device: str
    serial: str
    dock: str
    bay: str
    policy: Policy
    usb: str | None = None
    known: str = ""
    replace: str = ""
    window_s: float = 60.0


class Shown(msgspec.Struct, frozen=True):
    """What the operator compares with the camera's log: SHA-256, lower-case hexadecimal."""

    camera: str
    agency: str


class Enrolment(msgspec.Struct, frozen=True):
    """What was done; `kept` is where copies of the certificates lie."""

    shown: Shown
    confirmed: Confirmation
    issued: Issued
    kept: Path


class Enroller:
    """Runs one enrolment. `confirm` asks people, and says why not if so; `say` tells what is waited for."""

    def __init__(
        self,
        way: Way,
        wanted: Wanted,
        agency: AgencyDesk,
        register: Register,
        *,
        confirm: Callable[[Shown], Confirmation | str],
        say: Callable[[str], object] = _log.info,
        trust: Callable[[], DockTrust] | None = None,
        timeouts: Timeouts | None = None,
        pause: Callable[[float], object] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it needs; `trust` is the dock's own, to look for a camera whose last answer was lost."""
        self._way = way
        self._wanted = wanted
        self._agency = agency
        self._register = register
        self._confirm = confirm
        self._say = say
        self._trust = trust
        self._timeouts = timeouts or Timeouts()
        self._pause = pause
        self._now_s = now_s
        self._deadline_s = 0.0
        self._client: DockClient | None = None
        self._shown: Shown | None = None
        self._confirmed: Confirmation | None = None
        self._confirmed_for: Shown | None = None
        self._requests: SigningRequests | None = None
        self._issued: Issued | None = None
        self._kept = Path()
        self._open_issue = False
        self._failure: ExplainedError = EnrolError("not begun")
        self._said = ""
        self._steps: Final[Mapping[Step, Callable[[], Outcome]]] = {
            Step.LOOK: self._look,
            Step.ASK: self._ask,
            Step.BEGIN: self._begin,
            Step.CONFIRM: self._ask_people,
            Step.ISSUE: self._issue,
            Step.INSTALL: self._install,
            Step.CHECK: self._check,
        }

    def run(self) -> Enrolment:
        """Enrol; the register is to be held.

        Raises:
            UncertainError: the link broke at the last step, and what became of it could not be seen.
            EnrolError: the camera is not enrolled.
            StorageError: the register cannot be written; nothing was issued.
        """
        self._check_id()
        self._deadline_s = self._now_s() + self._wanted.window_s
        step = Step.LOOK
        try:
            while step not in _ENDINGS:
                outcome = self._attempt(step)
                following = TRANSITIONS[step, outcome]
                if following in (step, Step.LOOK) and outcome is not Outcome.DONE:
                    self._pause(_AGAIN_S)
                step = following
        finally:
            self._hang_up()
        return self._ended(step)

    def _attempt(self, step: Step) -> Outcome:
        if self._now_s() > self._deadline_s:
            self._failure = EnrolError(
                f"the time of {self._wanted.window_s:.0f} s is over", found=self._said or "no camera"
            )
            return Outcome.TIME_UP
        return self._steps[step]()

    def _check_id(self) -> None:
        wanted = self._wanted
        if wanted.usb is not None and wanted.usb != wanted.serial:
            raise EnrolError(
                f"another camera is in bay {wanted.bay}",
                expected=f"USB serial number {wanted.serial}",
                found=wanted.usb,
            )
        taken = self._register.holder(wanted.device, wanted.serial)
        found = f"{taken.event} for board {taken.serial} on {taken.utc}" if taken else wanted.known
        if found and not wanted.replace:
            raise EnrolError(
                f"{wanted.device} is taken",
                found=found,
                remedy="choose another id, or give --replace with a reason",
            )

    def _look(self) -> Outcome:
        self._hang_up()
        serial = self._way.serial
        try:
            self._client = open_session(
                self._way.open(),
                DockEnrolment(),
                timeouts=self._timeouts,
                limit=RequestLimit() if serial else None,
                line_timeout_s=max(0.1, min(_LINE_S, self._deadline_s - self._now_s())),
            )
        except PeerRefusedError as error:
            return self._no(
                EnrolError(f"the camera in bay {self._wanted.bay} belongs to an agency already: {error}")
            )
        except LinkError as error:
            quiet = isinstance(error, StreamError | LinkTimeoutError)
            self._tell("no camera yet" if quiet else f"no camera yet: {error}")
            return Outcome.NOT_YET
        self._shown = Shown(self._client.peer.fingerprint, self._agency.fingerprint)
        return Outcome.DONE

    def _ask(self) -> Outcome:
        try:
            device = self._session.device()
        except LinkError as error:
            return self._lost(error)
        if device.device is not None:
            return self._no(EnrolError("the camera has an identity", found=device.device))
        if device.serial != self._wanted.serial:
            return self._no(
                EnrolError(
                    f"another camera is in bay {self._wanted.bay}",
                    expected=f"board {self._wanted.serial}",
                    found=device.serial or "a board without a number",
                )
            )
        return Outcome.DONE

    def _begin(self) -> Outcome:
        shown = self._both
        begin = EnrolBegin(self._wanted.device, shown.camera, shown.agency)
        try:
            self._requests = self._session.begin_enrolment(begin)
        except AnswerError as error:
            problem = error.problem
            if problem.status == _LATER or (problem.status == _FORBIDDEN and problem.field is None):
                self._tell(f"the camera waits: {problem.detail}")
                return Outcome.NOT_YET
            return self._no(EnrolError(f"the camera refuses: {problem.detail}"))
        except LinkError as error:
            return self._lost(error)
        return Outcome.DONE

    def _ask_people(self) -> Outcome:
        """Have the fingerprints confirmed; once is enough for one camera."""
        if self._confirmed_for == self._both:
            return Outcome.DONE
        answer = self._confirm(self._both)
        if isinstance(answer, Confirmation):
            self._confirmed, self._confirmed_for = answer, self._both
            return Outcome.DONE
        self._record(RecordEvent.DECLINED, answer)
        return self._no(EnrolError(f"the fingerprints are not confirmed: {answer}"))

    def _issue(self) -> Outcome:
        assert self._requests is not None  # `begin` brought them
        try:
            issued = self._agency.issue(self._wanted.device, self._requests)
        except EvidenceError as error:
            return self._no(error)
        self._kept = self._agency.keep(self._wanted.device, issued)
        self._issued = issued
        self._record(RecordEvent.ISSUED, self._wanted.replace)
        return Outcome.DONE

    def _install(self) -> Outcome:
        assert self._issued is not None  # the step before
        policy = self._wanted.policy
        offer = EnrolInstall(
            evidence=tuple(certificate_der(each) for each in self._issued.evidence),
            link=tuple(certificate_der(each) for each in self._issued.link),
            anchors=(self._agency.root_der,),
            config=policy.config,
            recipients=policy.recipients,
        )
        try:
            self._session.end_enrolment(offer)
        except AnswerError as error:
            self._record(RecordEvent.REFUSED, error.problem.detail)
            return self._no(EnrolError(f"the camera refuses, and keeps nothing: {error.problem.detail}"))
        except LinkError as error:
            self._failure = error
            self._deadline_s = self._now_s() + self._wanted.window_s
            return Outcome.LOST
        return Outcome.DONE

    def _check(self) -> Outcome:
        """See whether the camera shows the certificate that was issued."""
        self._hang_up()
        if self._trust is None or self._issued is None:
            return Outcome.NO
        self._tell("the link broke; looking whether the camera has its identity")
        try:
            client = open_session(
                self._way.open(),
                self._trust(),
                timeouts=self._timeouts,
                limit=RequestLimit() if self._way.serial else None,
                line_timeout_s=_LINE_S,
            )
        except LinkError:
            return Outcome.NOT_YET
        with client:
            same = client.peer.fingerprint == fingerprint(certificate_der(self._issued.link[0]))
        return Outcome.DONE if same else Outcome.NO

    def _ended(self, step: Step) -> Enrolment:
        if step is Step.UNCERTAIN:
            self._record(RecordEvent.UNCERTAIN, str(self._failure)[:500])
            raise UncertainError(
                f"the link broke while the camera took its identity: {self._failure}",
                remedy="look at its light: if it still asks to be enrolled, do it again",
            )
        if step is not Step.ENROLLED:
            if self._open_issue:
                self._record(RecordEvent.REFUSED, f"never sent: {self._failure}")
            if isinstance(self._failure, EvidenceError):
                raise self._failure
            raise EnrolError(str(self._failure))
        self._record(RecordEvent.INSTALLED, self._wanted.replace)
        assert self._issued is not None  # there is no other way here
        assert self._confirmed is not None  # as above
        return Enrolment(self._both, self._confirmed, self._issued, self._kept)

    def _record(self, event: RecordEvent, reason: str) -> None:
        wanted, issued = self._wanted, self._issued
        self._open_issue = event is RecordEvent.ISSUED
        self._register.append(
            EnrolmentRecord(
                utc=format_utc(time.time_ns()),
                event=event,
                device=wanted.device,
                serial=wanted.serial,
                dock=wanted.dock,
                bay=wanted.bay,
                camera_fingerprint=self._both.camera,
                agency_fingerprint=self._both.agency,
                confirmed=self._confirmed,
                evidence_certificate=issued.evidence_serial if issued else None,
                link_certificate=issued.link_serial if issued else None,
                reason=reason[:500],
            )
        )

    @property
    def _session(self) -> DockClient:
        assert self._client is not None  # the table comes here by way of `look`
        return self._client

    @property
    def _both(self) -> Shown:
        assert self._shown is not None  # as above
        return self._shown

    def _no(self, error: ExplainedError) -> Outcome:
        self._failure = error
        return Outcome.NO

    def _lost(self, error: LinkError) -> Outcome:
        self._failure = error
        self._tell(f"the link broke: {error}")
        return Outcome.LOST

    def _tell(self, text: str) -> None:
        """Tell people what is waited for, once."""
        if text != self._said:
            self._said = text
            self._say(text)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
