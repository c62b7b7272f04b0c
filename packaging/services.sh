# What try-services has beyond lib.sh: roots that are booted, how a service ended, and what is done to it. Sourced, not run.
# $work, $device, $dock and $terminal are the caller's.

# Boot a root; its first process is what commands are run beside: boot NAME [NSPAWN-OPTION]...
boot() {
    local name=$1 pid
    shift
    systemd-nspawn --quiet --directory="$work/$name" --machine="try-$name" --register=no --keep-unit --boot \
        --system-call-filter=@memlock --console=pipe "$@" </dev/null >>"$work/$name.console" 2>&1 &
    pid=$!
    echo "$pid" >"$work/$name.nspawn"
    first_process() {
        [ -d "/proc/$pid" ] || not_here "systemd-nspawn cannot boot a plain Debian 12 here: $(tail -1 "$work/$name.console")"
        [ -n "$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)" ]
    }
    wait_for "the first process of $name" first_process
    tr -d ' ' <"/proc/$pid/task/$pid/children" >"$work/$name.init"
    booted() {
        [ -d "/proc/$pid" ] || not_here "systemd does not come up in a plain Debian 12 here: $(tail -1 "$work/$name.console")"
        inside "$name" systemctl is-system-running | grep -q 'running\|degraded'
    }
    wait_for "systemd in $name" booted
}
# Nothing of ours runs yet, so it is this machine that cannot.
not_here() {
    [ -z "${ours_installed:-}" ] || fail "$*"
    echo "try-services: not run: $*" >&3
    exit 77
}
inside() {
    local name=$1
    shift
    nsenter --target "$(cat "$work/$name.init")" --mount --uts --ipc --pid --cgroup --root --wd -- "$@"
}
run_in() {
    local name
    name=$(basename "$1")
    shift
    inside "$name" "$@"
}
tell() {
    local name
    for name in device dock; do
        if [ -e "$work/$name.init" ]; then
            inside "$name" journalctl --no-pager -n 80 -u "preroll-$name" >&2 || tail -20 "$work/$name.console" >&2
        fi
    done
}
active() { inside "$1" systemctl is-active --quiet "preroll-$1"; }
gone() { ! inside "$1" systemctl is-active --quiet "preroll-$1"; }
main_pid() { inside "$1" systemctl show -p MainPID --value "preroll-$1"; }
shown() { inside "$1" systemctl show -p "$2" --value "preroll-$1"; }
expect() { [ "$2" = "$3" ] || fail "$1: expected $3, found $2"; }

# How the camera's process has ended each time, as systemd saw it ($SERVICE_RESULT $EXIT_CODE $EXIT_STATUS). Its journal
# would not do: of an end that systemd takes for a good one (status 0, SIGTERM, SIGPIPE) it says no status.
record_ends() {
    cat >"$device/etc/systemd/system/preroll-device.service.d/ends.conf" <<'CONF'
[Service]
ExecStopPost=+/bin/sh -c 'echo "$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS" >>/var/lib/ends'
CONF
}
ends() { cat "$device/var/lib/ends" 2>/dev/null || :; }
ended_as() { [ "$(ends | tail -n +"$(($1 + 1))" | head -1)" = "$2" ]; }
# after_end WHAT ENDS-BEFORE RESULT-CODE-STATUS: it ended so, and runs again
after_end() {
    local what=$1 before=$2 how=$3
    ended() { [ "$(ends | wc -l)" -gt "$before" ]; }
    wait_for "the end by $what" ended
    ended_as "$before" "$how" || fail "$what: expected the end '$how', found '$(ends | tail -n +$((before + 1)))'"
    wait_for "preroll-device started again after $what" active device
}

# The same files under a higher version: what an upgrade is to dpkg and to the maintainer scripts.
higher() {
    local package=$1 into=$2
    rm -rf "$work/repack"
    dpkg-deb -R "$package" "$work/repack"
    sed -i 's/^Version: .*/&+1/' "$work/repack/DEBIAN/control"
    dpkg-deb -Znone --root-owner-group -b "$work/repack" "$into" >/dev/null
    rm -rf "$work/repack"
}
install_inside() {
    local name=$1
    cp "$2" "$work/$name/root/new.deb"
    inside "$name" env DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i /root/new.deb >>"$work/$name.dpkg" 2>&1 ||
        { tail -20 "$work/$name.dpkg" >&2; fail "dpkg -i in $name"; }
    rm "$work/$name/root/new.deb"
}

# Make the kernel run out of memory for the camera; sets $killed_by to how systemd must see it.
# - Where the container has the memory controller of cgroup v2: a limit on the running unit. systemd counts the kill.
# - Where this machine has it as cgroup v1: the process gets into a group of its own with a limit, beside one that eats up
#   that memory, and is the one that the kernel is to choose. systemd sees a SIGKILL.
# - Elsewhere: SIGKILL, which is what the kernel's killer sends, and it is said.
run_out_of_memory() {
    local group=/sys/fs/cgroup/memory/preroll-try-$$ pid kills
    pid=$(main_pid device)
    if inside device grep -qsw memory /sys/fs/cgroup/cgroup.controllers; then
        killed_by="oom-kill killed KILL"
        inside device systemctl set-property --runtime preroll-device MemoryMax=16M MemorySwapMax=0
        process_gone() { ! inside device test -e "/proc/$pid"; }
        wait_for "the kernel's kill" process_gone
        inside device systemctl set-property --runtime preroll-device MemoryMax=infinity
        say "killed for memory by the kernel: cgroup v2, MemoryMax= on the unit"
    elif mkdir "$group" 2>/dev/null && [ -e "$group/memory.limit_in_bytes" ]; then
        killed_by="signal killed KILL"
        echo 64M >"$group/memory.limit_in_bytes"
        inside device sh -c "echo 1000 >/proc/$pid/oom_score_adj"
        # By the number that the process has inside, written from inside its PID namespace.
        nsenter --target "$(cat "$work/device.init")" --pid -- sh -c "echo $pid >$group/cgroup.procs"
        { python3 - "$group" || :; } 2>/dev/null <<'PYTHON'  # the next to be killed
import sys
from pathlib import Path

group = Path(sys.argv[1])
(group / "cgroup.procs").write_text("0")
eaten = []
while len((group / "cgroup.procs").read_text().split()) > 1:
    eaten.append(b"x" * (1 << 20))
PYTHON
        kills=$(awk '$1 == "oom_kill" { print $2 }' "$group/memory.oom_control")
        empty() { rmdir "$group"; }
        wait_for "the end of the group without memory" empty
        [ "$kills" -ge 1 ] || fail "the kernel has killed nobody for memory"
        say "killed for memory by the kernel: cgroup v1, a group of its own"
    else
        killed_by="signal killed KILL"
        inside device kill -KILL "$pid"
        say "not tried: the kernel's own kill for memory, no memory cgroup here; SIGKILL in its place"
    fi
}

# Restart the camera's machine in an orderly way, and boot it again.
reboot_device() {
    local pid status=0
    pid=$(cat "$work/device.nspawn")
    inside device systemctl reboot || :  # the way in may be cut before the answer
    wait "$pid" || status=$?
    expect "the container's end at a reboot" $status 133 # "start me again" (systemd-nspawn(1), --keep-unit)
}

# no_frames WHEN: no frame of the film in any file, the journal, or where this machine's core dumps and swap are.
no_frames() {
    local searched root place swap
    local film=$device/srv/replay.mp4
    root=/proc/$(cat "$work/device.init")/root
    local places=("$root"/{etc,home,opt,root,run,srv,tmp,usr,var,dev/shm})
    for place in /var/lib/systemd/coredump /var/crash "$(dirname "$(sed 's/^|//; s/ .*//' /proc/sys/kernel/core_pattern)")"; do
        case $place in /*) [ ! -d "$place" ] || places+=("$place") ;; esac
    done
    inside device journalctl --sync
    searched=$("$here/find-frames" "$film" --since "$began" --not "$film" "${places[@]}") || fail "frames left behind after $1"
    inside device journalctl --no-pager -o export | "$here/find-frames" "$film" - >/dev/null || fail "frames in the journal after $1"
    if [ "$(wc -l </proc/swaps)" -gt 1 ]; then
        for swap in $(awk 'NR > 1 { print $1 }' /proc/swaps); do
            "$here/find-frames" "$film" "$swap" >/dev/null || fail "frames in swap after $1: $swap"
        done
        swap="swap ($(awk 'NR > 1 { print $1 }' /proc/swaps | paste -sd ' '))"
    else
        swap="no swap on this machine"
    fi
    say "no frame left behind after $1: $searched changed, journal, core dumps; $swap"
}

# The search finds what it looks for: a core dump of a process that holds the film, and a journal that has some of it.
search_finds() {
    local film=$device/srv/replay.mp4 left
    inside device sh -c 'cd /var/lib && ulimit -c unlimited && exec python3 -c "
import os
film = open(\"/srv/replay.mp4\", \"rb\").read()
os.abort()"' 2>/dev/null || :
    left=$(find "$device/var/lib" -maxdepth 1 -name 'core*' | head -1)
    if [ -n "$left" ]; then
        ! "$here/find-frames" "$film" "$left" >/dev/null 2>&1 || fail "the search misses a core dump that holds the film"
    else
        say "not tried: a core dump that holds the film; this machine's go to $(cat /proc/sys/kernel/core_pattern)"
    fi
    inside device systemd-cat sh -c 'base64 -w 0 /srv/replay.mp4'
    inside device journalctl --sync
    ! inside device journalctl --no-pager -o export | "$here/find-frames" "$film" - >/dev/null 2>&1 ||
        fail "the search misses a journal that holds the film"
}
