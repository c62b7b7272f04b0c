"""A dock at the other end of the board's USB cable: the real agent as a process, with one bay."""

import json

from hil_tests.board.protocol import Board, BoardError, Finished, Service
from hil_tests.camera_rig import CAMERA_ID, DOCK_ID, Keys

__all__ = ["DockRig"]

_TOML = """\
[dock]
id = "{dock}"
keys = "{files}/dock-keys"
root = "{files}/dock-root.pem"
state = "{place}/state"

[store]
path = "{place}/store"
id = "store-bench"
reserve_mib = 1

[timeouts]  # for a machine that has other things to do
handshake_s = 60
progress_s = 30
answer_s = 120
line_s = 60
look_s = 0.5
retry_s = 2

[[bay]]
name = "1"
serial = {port}
"""


class DockRig:
    """One dock; its store lies in `place` on the machine that plays it."""

    def __init__(self, board: Board, keys: Keys, place: str = "/tmp/dock") -> None:
        self._side = board.dock_side
        self._place = place
        self.service: Service | None = None
        self.store = f"{place}/store"
        self._side.put(keys.directory / "dock", "dock-keys")
        self._root = self._side.put(keys.root, "dock-root.pem")
        self._identity = self._side.put(keys.identity, "dock-identity.txt")
        self._side.run("mkdir", "-p", self.store, f"{place}/state")
        files = self._side.places.files
        self._config = f"{files}/dock.toml"
        port = json.dumps(board.dock_port)
        self._side.write(self._config, _TOML.format(dock=DOCK_ID, files=files, place=place, port=port))

    def start(self) -> Service:
        """Start the agent."""
        command = [self._side.places.preroll, "dock", "run", "--config", self._config]
        self.service = self._side.start("dock", *command)
        return self.service

    def stop(self) -> int:
        """Stop it in order; returns its exit status."""
        assert self.service is not None
        return self.service.stop()

    def wait_stored(self, clip: str, *, timeout_s: float = 180) -> str:
        """Wait until a clip of the bench's camera has its receipt in the store; returns its path there."""
        path = f"{self.store}/clips/{CAMERA_ID}/{clip}"
        script = 'for i in $(seq "$2"); do test -e "$1/receipt.json" && exit 0; sleep 1; done; exit 1'
        tries = str(int(timeout_s))
        done = self._side.run("sh", "-c", script, "sh", path, tries, timeout_s=timeout_s * 4)
        if done.status != 0:
            log = self.service.log[-3000:] if self.service else ""
            raise BoardError(f"{clip} did not reach the dock in {timeout_s:g} s; the dock says:\n{log}")
        return path

    def verify(self) -> Finished:
        """Verify the store."""
        command = [self._side.places.preroll, "clip", "verify", self.store, "--ca", self._root]
        return self._side.run(*command, "--identity", self._identity, "--json")
