# Installed, started, and removed, on a system whose packages are others: the package depends on
# nothing but systemd.
boot
rpm_within() {
    nsenter --target "$manager" --mount --pid --uts --ipc --cgroup rpm --root "$system" "$@"
}
rpm_within --install --nodeps "$package"
within systemctl enable --quiet --now ghostport.service
await_agent
within systemctl reload ghostport.service || fail "the agent was not reloaded"
rpm_within --verify --nodeps ghostport || fail "installed files are not the package's"
rpm_within --erase --nodeps ghostport
! is_active || fail "the agent still runs"
nothing_is_pinned
echo "dist: the rpm was installed, reloaded and removed" >&2
