#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, and leaves nothing of either:
#
#   engine.sh COMMAND [ARGUMENT]…
#
# Engine, containers and command have their own processes, mounts and network. The kernel ends all of them together, so
# that no process survives, whatever happens; and no port, firewall rule or container of this machine is touched. The
# network reaches what this machine reaches, through slirp4netns. The data are in a temporary folder, which is removed.
# FRUITS_DOCKER_LIMIT_S bounds the command (seconds, default 1500). Needs root, and the Debian packages docker.io,
# iptables, procps and slirp4netns.
set -euo pipefail

limit_s=${FRUITS_DOCKER_LIMIT_S:-1500}

die() {
    echo "engine.sh: $*" >&2
    exit 1
}

wait_until() { # SECONDS COMMAND…
    local end=$((SECONDS + $1))
    until "${@:2}" &>/dev/null; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

outside() {
    local program
    ((EUID == 0)) || die "only root can start an engine."
    for program in dockerd docker iptables pgrep setpriv slirp4netns unshare; do
        [[ -n $(PATH=$PATH:/usr/sbin:/sbin type -P "$program") ]] || die "$program is not installed."
    done
    [[ -c /dev/net/tun ]] || die "slirp4netns needs /dev/net/tun, which is not there."

    folder=$(mktemp --directory --tmpdir fruits-docker.XXXXXX)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc \
        "$0" --inside "$folder" "$@" <&0 &
    namespaces=$!
    wait_until 10 pgrep --parent "$namespaces" || die "the namespaces cannot be made."
    setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 --disable-host-loopback --ready-fd=3 \
        "$(pgrep --parent "$namespaces")" tap0 3>"$folder/network" >"$folder/slirp4netns.log" 2>&1 &
    network=$!
    wait "$namespaces"
}

clean_up() {
    local status=$?
    set +e
    kill -KILL "${namespaces:-}" 2>/dev/null # and with it, by --kill-child, all that is inside
    kill "${network:-}" 2>/dev/null
    wait
    find /sys/fs/cgroup -depth -type d -path "*/${folder##*/}*" -exec rmdir {} \; 2>/dev/null
    rm -rf "$folder"
    exit "$status"
}

inside() {
    local engine status=0
    folder=$1
    shift
    export PATH=$PATH:/usr/sbin:/sbin DOCKER_HOST=unix://$folder/docker.sock DOCKER_CONFIG=$folder/config
    wait_until 30 test -s "$folder/network" || die "no network: $(cat "$folder/slirp4netns.log")"
    # 10.0.2.3 is where slirp4netns answers DNS: this machine's resolver may be one on loopback.
    dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/run" --pidfile "$folder/dockerd.pid" \
        --cgroup-parent "/${folder##*/}" --dns 10.0.2.3 >"$folder/dockerd.log" 2>&1 &
    engine=$!
    wait_until 60 docker version || die "the engine does not start: $(tail "$folder/dockerd.log")"

    timeout --kill-after=30 "$limit_s" "$@" || status=$?

    kill "$engine"
    wait_until 30 test ! -e "$folder/dockerd.pid" || status=1
    exit "$status"
}

if [[ ${1:-} == --inside ]]; then
    inside "${@:2}"
else
    (($#)) || die "say which command."
    outside "$@"
fi
