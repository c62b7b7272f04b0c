"""Hands a virtual board over to the host's systemd: the camera's real units run, the agent is a service.

The root stays the host's, read-only. What has to be written is in memory: /etc with what programs need of it
and the camera's own files, /var, the directory of `preroll`. The camera's unit hides home directories, so
checkout and interpreter are also mounted under /srv.
"""

import os
import shutil
import subprocess
from pathlib import Path

from hil_tests.board.guest import system

__all__ = ["hand_over"]

_SYSTEMD = "/lib/systemd/systemd"
_READ_ONLY = 1
_OF_ETC = (
    "alternatives",
    "group",
    "gshadow",
    "ld.so.cache",
    "nsswitch.conf",
    "pam.d",
    "passwd",
    "security",
    "shadow",
    "ssl",
)
_PREROLL = """\
#!/srv/python/bin/python3 -I
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/srv/checkout", "{packages}"]
from preroll.cli import main
main()
"""
_AGENT = """\
[Unit]
DefaultDependencies=no
[Service]
ExecStart={command}
Environment=PYTHONPATH={checkout}
StandardInput=null
OOMScoreAdjust=-1000
"""
_TARGET = """\
[Unit]
DefaultDependencies=no
Wants=bench-agent.service systemd-journald.service dbus.socket local-fs.target
AllowIsolate=yes
"""
# Nothing here announces devices as udev does.
_MANAGER = """\
[Manager]
DefaultDeviceTimeoutSec=1
ShowStatus=no
"""


def hand_over(checkout: str, interpreter: str, agent: list[str]) -> None:
    """Become systemd; `agent` is the command that then speaks for the board. Never returns."""
    _make_places(checkout, interpreter)
    units = Path("/etc/systemd/system")
    units.mkdir(parents=True)
    source = Path(checkout) / "systemd"
    for name in ("preroll-device.service", "preroll-gadget.service"):
        shutil.copy(source / name, units)
    (units / "bench-agent.service").write_text(_AGENT.format(command=" ".join(agent), checkout=checkout))
    (units / "bench.target").write_text(_TARGET)
    Path("/etc/systemd/system.conf").write_text(_MANAGER)
    Path("/etc/machine-id").write_text("b" * 32 + "\n")
    for kind, tool in (("sysusers", "systemd-sysusers"), ("tmpfiles", "systemd-tmpfiles")):
        place = Path(f"/etc/{kind}.d")
        place.mkdir()
        shutil.copy(source / f"preroll-device.{kind}", place / "preroll-device.conf")
        create = ["--create"] if kind == "tmpfiles" else []
        subprocess.run([f"/bin/{tool}", *create, str(place / "preroll-device.conf")], check=True)
    os.execv(_SYSTEMD, [_SYSTEMD, "--system", "--unit=bench.target", "--log-target=journal"])


def _make_places(checkout: str, interpreter: str) -> None:
    kept = Path("/run/kept-etc")
    kept.mkdir()
    for name in _OF_ETC:
        found = Path("/etc") / name
        if found.is_dir():
            shutil.copytree(found, kept / name, symlinks=True)
        elif found.exists():
            shutil.copy(found, kept / name)
    for place in ("/etc", "/var", "/srv"):
        system.mount("tmpfs", place, "tmpfs", options="mode=755")
    shutil.copytree(kept, "/etc", symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(kept)
    for place in ("/var/lib/preroll", "/var/log", "/var/tmp"):
        Path(place).mkdir(parents=True)
    Path("/var/run").symlink_to("/run")
    system.mount("none", "/srv/checkout", "hostfs", options=checkout, flags=_READ_ONLY)
    prefix = str(Path(interpreter).parents[1])
    system.mount("none", "/srv/python", "hostfs", options=prefix, flags=_READ_ONLY)
    for name in ("upper", "work"):
        Path(f"/run/bin/{name}").mkdir(parents=True)
    layers = "lowerdir=/usr/bin,upperdir=/run/bin/upper,workdir=/run/bin/work"
    system.mount("overlay", "/usr/bin", "overlay", options=layers)
    packages = next(Path("/srv/checkout/.venv/lib").glob("python3*/site-packages"))
    command = Path("/usr/bin/preroll")
    command.write_text(_PREROLL.format(packages=packages))
    command.chmod(0o755)
