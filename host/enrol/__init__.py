"""Enrolling a new camera at one bay of the dock: the operator's end (docs/enrolment.md)."""

from host.enrol.borrowing import borrowed, usb_number_of
from host.enrol.errors import EnrolError, UncertainError
from host.enrol.issuing import AgencyDesk, Issued
from host.enrol.machine import TRANSITIONS, Outcome, Step
from host.enrol.register import Confirmation, EnrolmentRecord, RecordEvent, Register
from host.enrol.session import Enroller, Enrolment, Policy, Shown, Wanted

__all__ = [
    "TRANSITIONS",
    "AgencyDesk",
    "Confirmation",
    "EnrolError",
    "Enroller",
    "Enrolment",
    "EnrolmentRecord",
    "Issued",
    "Outcome",
    "Policy",
    "RecordEvent",
    "Register",
    "Shown",
    "Step",
    "UncertainError",
    "Wanted",
    "borrowed",
    "usb_number_of",
]
