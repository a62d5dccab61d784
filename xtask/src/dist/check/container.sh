# The image as the host's agent, by buildah and crun: with five capabilities and not privileged, as
# docs/operate/install.md has it. Arguments: the image, a folder for buildah's storage.
#
# Runs as root in network and mount namespaces of its own, which take everything along that is left.
set -eu

image=$1
storage=$2

fail() {
    echo "dist: $*" >&2
    exit 1
}

on_storage() {
    buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run" "$@"
}

agent_pid() {
    for pid in $(pgrep -x ghostport); do
        [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] || echo "$pid"
    done
}

# A container's process is a child of its runtime, not of this script.
clean_up() {
    code=$?
    for pid in $(agent_pid); do kill -KILL "$pid"; done
    exit "$code"
}
trap clean_up EXIT

ip link set lo up
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mountpoint --quiet /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /run
mkdir /run/state /run/ghostport

# Profiles of older runtimes allow bpf(2) with CAP_SYS_ADMIN alone.
container=$(on_storage from --quiet --cap-drop all \
    --cap-add CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH \
    --security-opt seccomp=unconfined "oci-archive:$image")
# By itself a container has no rights, and the authorities that it needs.
[ "$(on_storage inspect --format '{{.OCIv1.Config.User}}' "$container")" = 65532:65532 ] ||
    fail "a container would run as root"
mounted=$(on_storage mount "$container")
grep -q 'BEGIN CERTIFICATE' "$mounted/etc/ssl/certs/ca-certificates.crt" || fail "there are no certificates"
# crun wants groups of its own, which not every host that builds can give.
on_storage run --runtime crun --runtime-flag cgroup-manager=disabled --network host --pid host \
    --volume /sys/fs/bpf:/sys/fs/bpf --volume /sys/kernel/tracing:/sys/kernel/tracing:ro \
    --volume /sys/fs/cgroup:/sys/fs/cgroup:ro --volume /etc/passwd:/etc/passwd:ro \
    --volume /run/state:/var/lib/ghostport --volume /run/ghostport:/run/ghostport \
    --user 0 "$container" -- /usr/bin/ghostport run >"$storage/log" 2>&1 &

metrics=http://127.0.0.1:10948/metrics
for _ in $(seq 50); do
    ! curl --silent --fail http://127.0.0.1:10948/readyz >/dev/null || break
    sleep 0.2
done
page=$(curl --silent --fail "$metrics") || { cat "$storage/log" >&2; fail "the agent is not ready"; }
for hook in bind listen close ingress egress; do
    echo "$page" | grep -q "^ghostport_hook_attached{hook=\"$hook\",.*} 1$" || fail "$hook is not served"
done
bash -c 'for _ in 1 2 3; do echo >/dev/udp/127.0.0.1/2948; done' 2>/dev/null || true
curl --silent --fail "$metrics" |
    grep -q '^ghostport_packets_total{interface="lo",role="edge",port="2948",protocol="udp",direction="ingress",side="local"} 3$' ||
    fail "three packets were sent, and are not counted"
pid=$(agent_pid)
grep -q '^CapBnd:[[:space:]]*000000c000081004$' "/proc/$pid/status" || fail "it has other capabilities"
kill -TERM "$pid"
wait $! || fail "the agent did not end well"
echo "dist: the image served every hook, with five capabilities" >&2
