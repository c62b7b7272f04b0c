"""The demo's broker: mosquitto where it is installed, else amqtt; a process of its own on a free loopback port.

Needs no root. The service that Debian starts with mosquitto (port 1883) is never used: it may be somebody's.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec

from preroll.demo.errors import DemoError

__all__ = ["BrokerMake", "DemoBroker", "find_broker", "start_broker"]

_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"  # seldom in the path of people who are not root
_START_S = 20.0
_END_S = 5.0
_TRIES = 3
_CONFIG = """\
# Written by `preroll demo`, anew each time.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
"""


class BrokerMake(msgspec.Struct, frozen=True):
    """A broker that is installed: its program, and the newest MQTT that it speaks."""

    name: str
    program: tuple[str, ...]
    protocol: Literal["5", "3.1.1"]


class DemoBroker:
    """A broker that runs until `close`."""

    def __init__(self, make: BrokerMake, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.make = make
        self.port = port
        self._process = process
        self._log = log

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; `setpriv` becomes the broker."""
        return self._process.pid

    def check(self) -> None:
        """Raise if it has ended.

        Raises:
            DemoError: it has.
        """
        if self._process.poll() is not None:
            raise DemoError(f"the demo's broker, {self.make.name}, ended by itself", remedy=f"see {self._log}")

    def close(self) -> None:
        """End it; more than once does no harm."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def find_broker(*, mosquitto: str | None = None) -> BrokerMake | None:
    """Return the broker to use, `None` where none is installed; `mosquitto` is where to look for that one."""
    path = os.pathsep.join((os.environ.get("PATH", ""), _PLACES)) if mosquitto is None else mosquitto
    program = shutil.which("mosquitto", path=path)
    if program is not None:
        return BrokerMake(_mosquitto_name(program), (program, "-c", "mosquitto.conf"), "5")
    if importlib.util.find_spec("amqtt") is not None:
        name = f"amqtt {importlib.metadata.version('amqtt')}, which knows MQTT 3.1.1 only"
        return BrokerMake(name, (sys.executable, "-m", "preroll.demo.embedded"), "3.1.1")
    return None


def start_broker(make: BrokerMake, directory: Path) -> DemoBroker:
    """Start it on a free port of loopback, and wait until it answers; its log is `broker.log` in the directory.

    Raises:
        DemoError: it does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "broker.log"
    for _ in range(_TRIES):  # between finding a port and listening, somebody else may take it
        port = _free_port()
        config = _CONFIG.format(port=port) + ("user root\n" if os.getuid() == 0 else "")
        (directory / "mosquitto.conf").write_text(config, encoding="ascii")
        command = [*_bound(), *make.program, *([] if "-c" in make.program else [str(port)])]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - a program that we found, with words of our own
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        broker = DemoBroker(make, port, process, log)
        try:
            if _answers(broker, process):
                return broker
        except BaseException:
            broker.close()
            raise
        broker.close()
    raise DemoError(f"the demo's broker, {make.name}, does not start", remedy=f"see {log}")


def _answers(broker: DemoBroker, process: "subprocess.Popen[bytes]") -> bool:
    end_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end_s:
        with (
            contextlib.suppress(OSError),  # not yet
            socket.create_connection(("127.0.0.1", broker.port), 1),
        ):
            return process.poll() is None
        time.sleep(0.05)
    return False


def _bound() -> list[str]:
    """Let the broker end with us, if we are killed; where there is no `setpriv` it would stay."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _mosquitto_name(program: str) -> str:
    told = subprocess.run([program, "-h"], capture_output=True, text=True, check=False)  # noqa: S603 - as found
    version = re.search(r"mosquitto version (\S+)", told.stdout)
    return f"mosquitto {version[1]}" if version else "mosquitto"
