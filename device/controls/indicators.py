"""Plays the table of patterns: states, signals and renewals in, changes of output lines out.

No clock, thread or line: `tick(now_ns)` says which lines change, `next_deadline_ns()` when to ask again.

The recording light lives by the writer's progress. `renew` lights it for at most 2 s from now; without renewal
it lapses to the fault pattern. Between `show` of a recording state and the first renewal it stays dark, for 2 s
at most, because nothing is on storage yet.

What plays waits for whoever is late: a step that is due begins when `tick` comes to it, and the rest moves
with it. So on a machine that is held up a pulse may be longer than its row says, never shorter, and none is
left out.
"""

from typing import Self

import msgspec

from device.controls.patterns import (
    PATTERNS,
    RECORDING_STATES,
    SIGNALS,
    Colour,
    IndicatorState,
    Line,
    Pattern,
    Signal,
)

__all__ = ["IndicatorPolicy", "Indicators", "LineChange"]

_NS_PER_S = 1_000_000_000
_LONGEST_RENEWAL_NS = 2 * _NS_PER_S


class LineChange(msgspec.Struct, frozen=True, gc=False):
    """An output line is to be switched."""

    line: Line
    on: bool


class IndicatorPolicy(msgspec.Struct, frozen=True):
    """What may be seen, heard and felt. Stealth: no light, no sound, and vibration only if asked for.

    `reminder_ns` is the time between two reminders while recording, `None` for none.
    """

    sound: bool = True
    vibration: bool = True
    stealth: bool = False
    stealth_vibration: bool = False
    reminder_ns: int | None = 120 * _NS_PER_S

    @property
    def light_allowed(self) -> bool:
        """Whether a light may be on."""
        return not self.stealth

    @property
    def sound_allowed(self) -> bool:
        """Whether the buzzer may be on."""
        return self.sound and not self.stealth

    @property
    def vibration_allowed(self) -> bool:
        """Whether the motor may be on."""
        return self.vibration and (self.stealth_vibration or not self.stealth)


class _Playing(msgspec.Struct):
    """A pattern since an instant; `due_ns` is when its next step begins, `None` while nobody waits for it."""

    pattern: Pattern
    since_ns: int
    due_ns: int | None

    @classmethod
    def begin(cls, pattern: Pattern, at_ns: int) -> Self:
        return cls(pattern, at_ns, at_ns)

    def wait_for(self, now_ns: int) -> None:
        """Let a step that was due earlier begin now."""
        if self.due_ns is not None and now_ns > self.due_ns:
            self.since_ns += now_ns - self.due_ns
            self.due_ns = now_ns

    def is_over(self, now_ns: int) -> bool:
        return now_ns - self.since_ns >= self.pattern.length_ns

    def rest_ns(self, now_ns: int) -> int | None:
        """Return how long no track of it changes."""
        tracks = (self.pattern.light, self.pattern.buzzer, self.pattern.vibration)
        rests = [track.at(now_ns - self.since_ns)[1] for track in tracks]
        return min((rest for rest in rests if rest is not None), default=None)


class Indicators:
    """The player. Times passed in never decrease.

    A signal plays over the state: while it lasts, the state makes no sound and no vibration, and the signal's
    light, if it has one, replaces the state's. A new signal replaces the one that plays, because the latest
    press is what the wearer wants answered; only the reminder gives way.
    """

    def __init__(self, now_ns: int, policy: IndicatorPolicy | None = None) -> None:
        self.policy = policy or IndicatorPolicy()
        self.lapses = 0
        self._now_ns = now_ns
        self._state = IndicatorState.STARTING
        self._showing = IndicatorState.STARTING
        self._base = _Playing.begin(PATTERNS[self._state], now_ns)
        self._signal: _Playing | None = None
        self._dark_until_ns: int | None = None
        self._lit_until_ns: int | None = None
        self._remind_ns: int | None = None
        self._levels = dict.fromkeys(Line, False)

    @property
    def state(self) -> IndicatorState:
        """The state that was asked for last."""
        return self._state

    @property
    def showing(self) -> IndicatorState | None:
        """The state that is shown: `FAULT` once the recording light has lapsed, `None` while not yet lit."""
        return None if self._is_dark() else self._showing

    @property
    def levels(self) -> frozenset[Line]:
        """The lines that are on, as of the last `tick`."""
        return frozenset(line for line, on in self._levels.items() if on)

    def show(self, state: IndicatorState, now_ns: int) -> None:
        """Show a state from now on. The same state again changes nothing."""
        self._pass_time(now_ns)
        if state is self._state:
            return
        was_recording, is_recording = self._state in RECORDING_STATES, state in RECORDING_STATES
        self._state = state
        if is_recording and not was_recording:
            self._dark_until_ns, self._lit_until_ns = now_ns + _LONGEST_RENEWAL_NS, None
            pause_ns = self.policy.reminder_ns
            self._remind_ns = None if pause_ns is None else now_ns + pause_ns
        elif not is_recording:
            self._dark_until_ns = self._lit_until_ns = self._remind_ns = None
        self._choose(now_ns)

    def signal(self, kind: Signal, now_ns: int) -> None:
        """Play a signal once, from now on, in place of any other that plays."""
        self._pass_time(now_ns)
        self._signal = _Playing.begin(SIGNALS[kind], now_ns)

    def renew(self, now_ns: int, until_ns: int) -> None:
        """Keep the recording light alive until `until_ns`, at most 2 s from now. Otherwise without effect."""
        self._pass_time(now_ns)
        if self._state not in RECORDING_STATES:
            return
        until_ns = min(until_ns, now_ns + _LONGEST_RENEWAL_NS)
        if until_ns > now_ns and (self._lit_until_ns is None or until_ns > self._lit_until_ns):
            self._lit_until_ns, self._dark_until_ns = until_ns, None
            self._choose(now_ns)

    def set_policy(self, policy: IndicatorPolicy, now_ns: int) -> None:
        """Change what may be seen, heard and felt, such as stealth on or off."""
        self._pass_time(now_ns)
        self.policy = policy

    def tick(self, now_ns: int) -> tuple[LineChange, ...]:
        """Return the lines to switch now."""
        self._pass_time(now_ns)
        wanted = self._wanted()
        changes = tuple(
            LineChange(line, line in wanted) for line in Line if self._levels[line] is not (line in wanted)
        )
        self._levels = {line: line in wanted for line in Line}
        self._await_steps()
        return changes

    def switched(self, now_ns: int) -> None:
        """Hear that the lines have been switched by now: the steps that began count from here."""
        late_ns = now_ns - self._now_ns
        self._now_ns = now_ns
        for playing in (self._base, self._signal):
            if playing is not None and playing.due_ns is not None:
                playing.since_ns += late_ns
                playing.due_ns += late_ns

    def next_deadline_ns(self) -> int:
        """Return the earliest time at which a line, or what is shown, may change by itself."""
        times = [self._now_ns + self._longest_silence_ns()]
        times += [t for t in (self._dark_until_ns, self._lit_until_ns, self._remind_ns) if t is not None]
        return max(min(times), self._now_ns + 1)

    def _pass_time(self, now_ns: int) -> None:
        """Let everything fall due that is, in its order."""
        self._now_ns = max(now_ns, self._now_ns)
        for until_ns in (self._dark_until_ns, self._lit_until_ns):
            if until_ns is not None and until_ns <= self._now_ns:
                self._dark_until_ns = self._lit_until_ns = None
                self.lapses += 1
                self._choose(until_ns)
        (self._signal or self._base).wait_for(self._now_ns)
        if self._signal is not None and self._signal.is_over(self._now_ns):
            self._signal = None
        self._remind()

    def _await_steps(self) -> None:
        """Note when the next step of what plays is due; a state behind a signal goes on by itself."""
        for playing, is_awaited in (
            (self._base, self._signal is None and not self._is_dark()),
            (self._signal, True),
        ):
            if playing is not None:
                rest_ns = playing.rest_ns(self._now_ns) if is_awaited else None
                playing.due_ns = None if rest_ns is None else self._now_ns + rest_ns

    def _remind(self) -> None:
        due_ns, pause_ns = self._remind_ns, self.policy.reminder_ns
        if due_ns is None or self._now_ns < due_ns:
            return
        late = 0 if pause_ns is None else (self._now_ns - due_ns) // pause_ns
        self._remind_ns = None if pause_ns is None else due_ns + (late + 1) * pause_ns
        # Only what is known to be recording is said to be; and a press's answer goes first.
        if self._lit_until_ns is not None and self._signal is None:
            self._signal = _Playing.begin(SIGNALS[Signal.REMINDER], self._now_ns)

    def _is_dark(self) -> bool:
        return self._dark_until_ns is not None

    def _choose(self, at_ns: int) -> None:
        lapsed = self._state in RECORDING_STATES and self._lit_until_ns is None and not self._is_dark()
        shown = IndicatorState.FAULT if lapsed else self._state
        if self._base.pattern is not PATTERNS[shown] or shown is not self._showing:
            self._showing = shown
            self._base = _Playing.begin(PATTERNS[shown], at_ns)

    def _wanted(self) -> set[Line]:
        colour, _ = self._light()
        wanted: set[Line] = set(colour.value) if self.policy.light_allowed else set()
        if self.policy.sound_allowed and self._pulse("buzzer")[0]:
            wanted.add(Line.BUZZER)
        if self.policy.vibration_allowed and self._pulse("vibration")[0]:
            wanted.add(Line.VIBRATION)
        return wanted

    def _longest_silence_ns(self) -> int:
        """Return for how long no track changes its value, at most a minute."""
        rests = [self._light()[1], self._pulse("buzzer")[1], self._pulse("vibration")[1]]
        if self._signal is not None:
            rests.append(self._signal.since_ns + self._signal.pattern.length_ns - self._now_ns)
        return min([rest for rest in rests if rest is not None], default=60 * _NS_PER_S)

    def _light(self) -> tuple[Colour, int | None]:
        if self._signal is not None:
            colour, rest_ns = self._signal.pattern.light.at(self._now_ns - self._signal.since_ns)
            if colour is not None:
                return colour, rest_ns
        if self._is_dark():
            return Colour.OFF, None
        colour, rest_ns = self._base.pattern.light.at(self._now_ns - self._base.since_ns)
        return colour or Colour.OFF, rest_ns

    def _pulse(self, track: str) -> tuple[bool, int | None]:
        if self._signal is not None:
            # A signal silences the state's own sounds, so that its rhythm stays clear.
            on, rest_ns = getattr(self._signal.pattern, track).at(self._now_ns - self._signal.since_ns)
            return bool(on), rest_ns
        if self._is_dark():
            return False, None
        on, rest_ns = getattr(self._base.pattern, track).at(self._now_ns - self._base.since_ns)
        return bool(on), rest_ns
