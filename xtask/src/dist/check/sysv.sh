# sysvinit as the init of the system, in runlevel 2. What rcS does is this machine's business: clocks,
# file systems, settings of the kernel.
boot() {
    if [ -z "${booted:-}" ]; then
        booted=yes
        ip link set lo up
        mkdir "$group"
        mount --bind "$system" "$system"
        for folder in run tmp; do mount -t tmpfs tmpfs "$system/$folder"; done
        mount -t sysfs sysfs "$system/sys"
        mount --rbind /dev "$system/dev"
        printf 'id:2:initdefault:\nl2:2:wait:/etc/init.d/rc 2\n' >"$system/etc/inittab"
    fi
    sh -c 'echo $$ >"$0/cgroup.procs"
        exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup sh -c "
            mount -t proc proc $1/proc
            mount -t cgroup2 cgroup2 $1/sys/fs/cgroup
            exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $1 /sbin/init
        "' "$group" "$system" >"$boots" 2>&1 &
    namespace=$!
    for _ in $(seq 100); do
        manager=$(pgrep -P "$namespace" -x init || true)
        if [ -n "$manager" ] && [ "$(within runlevel 2>/dev/null)" = "N 2" ]; then
            return
        fi
        sleep 0.2
    done
    cat "$boots" >&2
    fail "no init came up"
}

shut_down() {
    kill -KILL "$manager"
    wait "$namespace" || true
}

is_active() {
    within /etc/init.d/ghostport status >/dev/null
}

main_pid() {
    within cat /run/ghostport.pid
}

show_log() {
    within tail -n 20 /var/log/syslog
}
