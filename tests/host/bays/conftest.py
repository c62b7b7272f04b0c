"""A station, cameras behind ports, and bays that look for them."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from host.bays import Bay, BayStatus, BayTimes, Way
from host.offload import Station
from host.store import format_store
from tests.host.offload.conftest import OffloadBench
from tests.host.offload.fakecamera import QUICK
from tests.host.store.conftest import ClipFactory, Pki, clips, pki

__all__ = ["clips", "pki"]

TIMES = BayTimes(link=QUICK, line_s=3.0, look_s=0.1, retry_s=0.3)


@dataclasses.dataclass
class BayBench(OffloadBench):
    """Bays on one station; `wait` for what one shows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bays: list[Bay] = []
        self.history: list[BayStatus] = []
        self.changed = threading.Condition()

    def bay(
        self,
        name: str,
        way: Way,
        *,
        station: Station | None = None,
        look_s: float = TIMES.look_s,
        **options: object,
    ) -> Bay:
        made = Bay(
            name,
            way,
            station or self.station,
            lambda: self.trust,
            msgspec.structs.replace(TIMES, look_s=look_s),
            on_change=self.noted,
            **options,  # type: ignore[arg-type]  # passed through
        )
        self.bays.append(made)
        made.start()
        return made

    def noted(self, status: BayStatus) -> None:
        with self.changed:
            self.history.append(status)
            self.changed.notify_all()

    def wait(self, bay: Bay, wanted: Callable[[BayStatus], bool]) -> BayStatus:
        with self.changed:
            assert self.changed.wait_for(lambda: wanted(bay.status), 30), bay.status
            return bay.status

    def close(self) -> None:
        for bay in self.bays:
            bay.stop()
        for bay in self.bays:
            assert bay.join(20)
        super().close()


@pytest.fixture
def bench(tmp_path: Path, pki: Pki, clips: ClipFactory) -> Iterator[BayBench]:
    format_store(tmp_path / "store", "dock7-a")
    made = BayBench(tmp_path / "store", pki, clips)
    yield made
    made.close()
