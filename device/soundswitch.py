"""The microphone of a running camera: switched on and off by policy, and how it is doing."""

import logging
from collections.abc import Callable

from device.capture.sound.gate import SoundGate
from device.capture.sound.level import LevelMeter
from device.capture.sound.microphone import Microphone
from device.capture.source import FrameSource, SourceKind
from device.config import DeviceConfig
from device.vault.logthread import LogThread

__all__ = ["SoundSwitch"]

_log = logging.getLogger(__name__)
_NS_PER_S = 1_000_000_000


class SoundSwitch:
    """Makes the configured microphone when it is wanted; what it needs is imported then and not before."""

    def __init__(
        self,
        config: DeviceConfig,
        source: FrameSource,
        gate: SoundGate,
        log: LogThread,
        *,
        microphone: Microphone | None = None,
    ) -> None:
        self._config = config
        self._source = source
        self._gate = gate
        self._log = log
        self._given = microphone
        self._state = ""
        health = config.health
        self._level = LevelMeter(health.quiet_dbfs, int(health.quiet_s * _NS_PER_S))
        self._stop: Callable[[], None] | None = None

    @property
    def condition(self) -> tuple[str, bool]:
        """`present`, `absent`, `lost`, or nothing while it is off; and whether it is too quiet."""
        return (self._state, self._level.is_quiet) if self._stop is not None else ("", False)

    def set(self, wanted: bool) -> None:
        """Switch it on or off."""
        if wanted is (self._stop is not None):
            return
        if self._stop is not None:
            self._stop()
            self._stop = None
            return
        microphone = self._microphone()
        if microphone is None:
            return
        from device.capture.sound.pipeline import SoundPipeline, SoundState  # noqa: PLC0415  # codec, as above

        def heard(state: SoundState) -> None:
            _log.info("microphone %s %s", state.kind, state.detail)
            self._state = str(state.kind)
            self._log.post(
                "microphone", state.monotonic_ns, {"state": str(state.kind), "detail": state.detail[:200]}
            )

        pipeline = SoundPipeline(microphone, self._gate, heard, level=self._level)
        pipeline.start()
        self._stop = pipeline.stop

    def _microphone(self) -> Microphone | None:
        if self._given is not None:
            return self._given
        kind, _, target = self._config.sound.microphone.partition(":")
        if kind == "alsa":
            from device.capture.sound.alsa import AlsaMicrophone  # noqa: PLC0415  # only where it is used

            return AlsaMicrophone(target)
        if kind == "synthetic":
            from device.capture.sound.synthetic import SyntheticMicrophone  # noqa: PLC0415  # as above

            return SyntheticMicrophone()
        if kind == "replay" and self._config.source.kind is SourceKind.REPLAY:
            from device.capture.replay import ReplaySource  # noqa: PLC0415  # as above
            from device.capture.sound.file import FileMicrophone, LoopTimeline  # noqa: PLC0415  # as above

            source = self._source
            if isinstance(source, ReplaySource) and source.has_sound and source.start_ns is not None:
                timeline = LoopTimeline(source.start_ns, source.loop_period_ns, source.media_origin_ns)
                return FileMicrophone(self._config.source.target, timeline)
        return None
