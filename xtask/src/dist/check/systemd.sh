# systemd as the init of the system.

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

is_active() {
    [ "$(within systemctl is-active ghostport.service)" = active ]
}

main_pid() {
    within systemctl show --property=MainPID --value ghostport.service
}


show_log() {
    within journalctl --no-pager -u ghostport -n 20
}
