# What try-device and try-services share: roots, keys, configuration, waiting. Sourced, not run.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
cache=${PREROLL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/preroll}
patience_s=${PREROLL_PATIENCE_S:-600} # only how long a failure takes to say so

say() { echo "$(basename "$0"): $*"; }
fail() {
    say "failed: $*" >&2
    exit 1
}

# wait_for WHAT COMMAND...: until the command succeeds.
wait_for() {
    local what=$1 until=$((SECONDS + patience_s))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || fail "$what did not come in $patience_s s"
        sleep 0.3
    done
}

# fresh_root ARCH DIR: a copy of the cached root with a /proc, its own /dev, and the machine's terminals.
fresh_root() {
    local from
    from=$("$here/make-root" "$1")
    cp -a "$from" "$2"
    rm -f "$2/.made"
}

mount_root() {
    mount -t proc proc "$1/proc"
    mount --bind /dev/pts "$1/dev/pts"
}

# Install packages in a root, as dpkg does it on a machine; no byte of the network is used.
install_in() {
    local root=$1 package
    shift
    for package in "$@"; do
        cp "$package" "$root/tmp/"
        chroot "$root" dpkg -i "/tmp/$(basename "$package")" >>"$root/tmp/dpkg.log" 2>&1 ||
            { tail -20 "$root/tmp/dpkg.log" >&2; fail "dpkg -i $(basename "$package")"; }
        rm "$root/tmp/$(basename "$package")"
    done
}

newest() {
    local found
    found=$(find "$1" -maxdepth 1 -name "$2" 2>/dev/null | sort | tail -1)
    [ -n "$found" ] || fail "no $2 in $1; packaging/build-deb makes it"
    echo "$found"
}

# run_in ROOT COMMAND...: as on the machine itself; try-services does it inside the booted root.
run_in() { chroot "$@"; }

# An agency, a camera and a dock, made by the dock's package: make_keys DOCKROOT INTO
make_keys() {
    local run="run_in $1 preroll keys"
    $run agency try --out /root/agency >/dev/null
    $run issue camera cam0001 --agency /root/agency --new --out /root/camera >/dev/null
    $run issue dock dock1 --agency /root/agency --new --out /root/dock >/dev/null
}

# put_keys DOCKROOT DEVICEROOT: each gets its own, and the device's root also what opens a clip, to try that.
put_keys() {
    install -d "$2/root/agency"
    cp -r "$1/root/agency/root" "$1/root/agency/identity" "$2/root/agency/"
    rm -f "$2/root/agency/root/root.key"
    cp "$1"/root/camera/* "$2/etc/preroll/keys/"
    cp "$1/root/agency/identity/recipients.txt" "$2/etc/preroll/"
    [ -e "$2/etc/preroll/keys/anchors.pem" ] || cp "$1/root/agency/root/root.pem" "$2/etc/preroll/keys/anchors.pem"
    cp "$1"/root/dock/* "$1/etc/preroll/keys/"
    cp "$1/root/agency/root/root.pem" "$1/etc/preroll/root.pem"
    run_in "$1" systemd-tmpfiles --create /usr/lib/tmpfiles.d/preroll-dock.conf
    run_in "$2" systemd-tmpfiles --create /usr/lib/tmpfiles.d/preroll-device.conf
}

# configure DOCKROOT DEVICEROOT PORT TRIGGER-TERMINAL
configure() {
    local footage
    footage=$(PYTHON=${PYTHON:-python3} "$top/scripts/fetch-footage" | grep bikes.mp4 | head -1)
    cp "$footage" "$2/srv/replay.mp4"
    cat >"$2/etc/preroll/device.toml" <<TOML
[device]
id = "cam0001"
vault = "/var/lib/preroll/vault"
keys = "/etc/preroll/keys"

[camera]
source = "replay:/srv/replay.mp4"

[sound]
microphone = "synthetic"

[[controls.serial_triggers]]
port = "$4"
names = ["try"]

[dockport]
listen = "127.0.0.1:$3"

[policy]
recipients_file = "recipients.txt"
window_s = 5
TOML
    cat >"$1/etc/preroll/dock.toml" <<TOML
[dock]
id = "dock1"
keys = "/etc/preroll/keys"
root = "/etc/preroll/root.pem"
state = "/var/lib/preroll/dock"

[store]
path = "/srv/evidence/store"
id = "dock1-a"

[timeouts]
handshake_s = 60
progress_s = 60
look_s = 1

[[bay]]
name = "1"
tcp = "127.0.0.1:$3"
TOML
    install -d "$1/srv/evidence/store"
    run_in "$1" chown preroll-dock: /srv/evidence/store
    chmod 700 "$1/srv/evidence/store"
}
