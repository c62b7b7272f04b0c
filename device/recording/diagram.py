"""The recorder's table as text for docs/recorder.md: a diagram and the full table, both from `machine.STEP`."""

from device.recording.machine import STEP, Event, State, Step

__all__ = ["recorder_page"]

_HEAD = """# The recorder

What the recorder does at each event, in each state. This page is written by `make docs` from the table in
`device/recording/machine.py`; a test fails when they differ.

A press is judged from the state at its edge. A *short press begun while recording* and a *hold begun while
recording* are gestures whose press began in `recording` or `confirming`: the press that started a clip is
neither, so it cannot stop it, however long it is gripped.
"""


def _diagram() -> str:
    edges: dict[tuple[State, State], list[Event]] = {}
    for (state, event), step in STEP[False].items():
        if step.state is not state:
            edges.setdefault((state, step.state), []).append(event)
    hold = STEP[True][State.RECORDING, Event.HOLD]
    edges.setdefault((State.RECORDING, hold.state), []).append(Event.HOLD)
    names = {state: state.value.replace(" ", "_") for state in State}
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {names[State.STARTING]}"]
    for (start, end), events in edges.items():
        label = " / ".join(event.value.replace(",", "") for event in events)
        lines.append(f"    {names[start]} --> {names[end]}: {label}")
    return "\n".join([*lines, "```"])


def _cell(step: Step, state: State) -> str:
    parts = [action.value for action in step.actions]
    if step.state is not state:
        parts.append(f"→ **{step.state.value}**")
    if step.outcome is not None:
        parts.append(f"({step.outcome.value})")
    return ", ".join(parts) or "·"


def _table() -> str:
    states = list(State)
    lines = [
        "| event | " + " | ".join(state.value for state in states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    lines += [
        f"| {event.value} | " + " | ".join(_cell(STEP[False][state, event], state) for state in states) + " |"
        for event in Event
    ]
    return "\n".join(lines)


def recorder_page() -> str:
    """Return docs/recorder.md."""
    confirm = _cell(STEP[True][State.RECORDING, Event.HOLD], State.RECORDING)
    return "\n".join(
        [
            _HEAD,
            "## Diagram\n",
            _diagram(),
            "\n## Table\n",
            "What is done, `→` the next state, and in brackets what the event log says came of it.\n",
            _table(),
            f"\nWith `confirm_stop` a hold begun while recording does instead: {confirm}.",
            "Without a confirmation in time, recording goes on.\n",
        ]
    )
