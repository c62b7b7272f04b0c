"""amqtt as a process: `python -m preroll.demo.embedded PORT` listens on loopback until SIGTERM. MQTT 3.1.1."""

import asyncio
import logging
import signal
import sys

from amqtt.broker import Broker  # type: ignore[import-untyped]  # it ships no types

__all__ = ["serve"]

_PLUGINS: dict[str, dict[str, bool]] = {
    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
}


async def serve(port: int) -> None:
    """Be a broker on a port of 127.0.0.1 until SIGTERM or SIGINT."""
    broker = Broker(
        {"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": _PLUGINS}
    )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await broker.start()
    await ended.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))
