# The life of the package in a fresh system with a systemd of its own: installed, started, upgraded
# under load, removed, purged. Arguments: the root of that system, the package.
#
# Runs as root in network and mount namespaces of its own, which take everything along that is left.
set -eu

system=$1
cp "$2" "$system/root/ghostport.deb"
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
            exec env -i container=dist chroot $1 /lib/systemd/systemd --system --log-level=warning
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
        grep -e '^ghostport_packets_total{interface="lo",port="2948",protocol="udp",direction="ingress",side="local"}' |
        cut -d ' ' -f 2
}

is_active() {
    [ "$(within systemctl is-active ghostport.service)" = active ]
}

main_pid() {
    within systemctl show --property=MainPID --value ghostport.service
}

boot
files >"$system/root/before"

within dpkg --install /root/ghostport.deb >/dev/null
is_active || { within journalctl -u ghostport -n 20 >&2; fail "the agent was not started"; }
curl --silent --fail http://127.0.0.1:10948/readyz >/dev/null || fail "the agent is not ready"
[ -n "$(within ls /sys/fs/bpf/ghostport/links)" ] || fail "no hook is pinned"

# A change of the administrator's, which an upgrade leaves alone.
within sh -c 'echo "payload: {capture: false}" >>/etc/ghostport/ghostport.yaml'
within systemctl reload ghostport.service || fail "the agent was not reloaded"

before=$(main_pid)
bash -c 'sent=0
    while [ ! -e "$0/root/upgraded" ]; do
        echo >/dev/udp/127.0.0.1/2948 2>/dev/null
        sent=$((sent + 1))
    done
    echo "$sent" >"$0/root/sent"' "$system" &
sender=$!
within dpkg --install /root/ghostport.deb >/dev/null
touch "$system/root/upgraded"
wait "$sender"
is_active || fail "the upgraded agent does not run"
[ "$(main_pid)" != "$before" ] || fail "the old agent still runs"
within grep -q capture /etc/ghostport/ghostport.yaml || fail "the configuration was replaced"
sent=$(cat "$system/root/sent")
[ "$(received)" = "$sent" ] || fail "$sent packets were sent, $(received) counted"
within journalctl -u ghostport.service -o json | grep -q '"SYSLOG_IDENTIFIER":"ghostport"' ||
    fail "nothing is in the journal"

within dpkg --remove ghostport >/dev/null
[ ! -e "/proc/$manager/root/sys/fs/bpf/ghostport" ] || fail "something is left in the kernel"
within test -e /etc/ghostport/ghostport.yaml || fail "removal took the configuration along"
within dpkg --purge ghostport >/dev/null 2>&1
rm "$system/root/upgraded" "$system/root/sent"
files >"$boots.after"
if ! diff "$system/root/before" "$boots.after" >&2; then
    rm "$boots.after"
    fail "that is left behind"
fi
rm "$boots.after"
within getent passwd ghostport && fail "the user is left behind"
echo "dist: installed, reloaded, upgraded ($sent packets meanwhile, all counted), removed and purged" >&2
