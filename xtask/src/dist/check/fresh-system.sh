# A fresh system with an init of its own, for the life of a package. Arguments: the root of that system,
# the package.
#
# Runs as root in network and mount namespaces of its own, which take everything along that is left.
set -eu

system=$1
package=$2
boots=$(mktemp)
group=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)/ghostport-dist-$$.slice

fail() {
    echo "dist: $*" >&2
    exit 1
}

# Everything else has ended by the time the groups are removed, the innermost first.
clean_up() {
    code=$?
    [ -e "$group/cgroup.kill" ] && echo 1 >"$group/cgroup.kill"
    sleep 1
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    rm -f "$boots"
    exit "$code"
}
trap clean_up EXIT

within() {
    nsenter --target "$manager" --mount --pid --uts --ipc --cgroup --root --wd=/ \
        env --chdir=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

files() {
    within find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/log/journal \
        -o -path /var/cache -o -path '/etc/*-' -o -path '/var/log/*.log' \
        -o -path '/var/log/dmesg*' \) -prune -o -print | sort
}

received() {
    curl --silent --fail http://127.0.0.1:10948/metrics |
        grep -e '^ghostport_packets_total{interface="lo",role="edge",port="2948",protocol="udp",direction="ingress",side="local"}' |
        cut -d ' ' -f 2
}

await_agent() {
    for _ in $(seq 100); do
        ! { is_active && curl --silent --fail http://127.0.0.1:10948/readyz >/dev/null; } || break
        sleep 0.2
    done
    is_active || { show_log >&2; fail "the agent was not started"; }
    curl --silent --fail http://127.0.0.1:10948/readyz >/dev/null || fail "the agent is not ready"
    [ -n "$(within ls /sys/fs/bpf/ghostport/links)" ] || fail "no hook is pinned"
}

nothing_is_pinned() {
    [ ! -e "/proc/$manager/root/sys/fs/bpf/ghostport" ] || fail "something is left in the kernel"
}

# Runs a command that upgrades, while datagrams arrive that the agents have to count between them.
upgrade_under_load() {
    before=$(main_pid)
    already=$(received)
    bash -c 'sent=0
        while [ ! -e "$0/root/upgraded" ]; do
            echo >/dev/udp/127.0.0.1/2948 2>/dev/null
            sent=$((sent + 1))
        done
        echo "$sent" >"$0/root/sent"' "$system" &
    sender=$!
    "$@" >/dev/null
    touch "$system/root/upgraded"
    wait "$sender"
    await_agent
    [ "$(main_pid)" != "$before" ] || fail "the old agent still runs"
    sent=$(cat "$system/root/sent")
    rm "$system/root/upgraded" "$system/root/sent"
    [ "$(received)" = "$((already + sent))" ] || fail "$sent packets were sent beside $already, $(received) counted"
}
