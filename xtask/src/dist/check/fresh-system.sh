# A fresh system with a systemd of its own, for the life of a package. Arguments: the root of that
# system, the package.
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

boot() {
    ip link set lo up
    mkdir "$group"
    # The mount point is what systemd takes for its root.
    mount --bind "$system" "$system"
    for folder in run tmp; do mount -t tmpfs tmpfs "$system/$folder"; done
    mount -t sysfs sysfs "$system/sys"
    mount --rbind /dev "$system/dev"
    sh -c 'echo $$ >"$0/cgroup.procs"
        exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup sh -c "
            mount -t proc proc $1/proc
            mount -t cgroup2 cgroup2 $1/sys/fs/cgroup
            mount -t bpf -o mode=700 bpf $1/sys/fs/bpf
            mount -t tracefs tracefs $1/sys/kernel/tracing
            exec env -i container=dist PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $1 /lib/systemd/systemd --system --log-level=warning
        "' "$group" "$system" >"$boots" 2>&1 &
    for _ in $(seq 100); do
        manager=$(head -n 1 "$group/init.scope/cgroup.procs" 2>/dev/null || true)
        if [ -n "$manager" ] && within systemctl is-system-running 2>/dev/null |
            grep -q -e running -e degraded; then
            return
        fi
        sleep 0.2
    done
    cat "$boots" >&2
    fail "no systemd came up"
}

within() {
    nsenter --target "$manager" --mount --pid --uts --ipc --cgroup --root --wd=/ \
        env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

files() {
    within find / -xdev \( -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/log/journal \
        -o -path /var/cache -o -path '/etc/*-' -o -path '/var/log/*.log' \) -prune -o -print | sort
}

received() {
    curl --silent --fail http://127.0.0.1:10948/metrics |
        grep -e '^ghostport_packets_total{interface="lo",role="edge",port="2948",protocol="udp",direction="ingress",side="local"}' |
        cut -d ' ' -f 2
}

is_active() {
    [ "$(within systemctl is-active ghostport.service)" = active ]
}

main_pid() {
    within systemctl show --property=MainPID --value ghostport.service
}

await_agent() {
    is_active || { within journalctl --no-pager -u ghostport -n 20 >&2; fail "the agent was not started"; }
    curl --silent --fail http://127.0.0.1:10948/readyz >/dev/null || fail "the agent is not ready"
    [ -n "$(within ls /sys/fs/bpf/ghostport/links)" ] || fail "no hook is pinned"
}

nothing_is_pinned() {
    [ ! -e "/proc/$manager/root/sys/fs/bpf/ghostport" ] || fail "something is left in the kernel"
}
