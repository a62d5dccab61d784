# Installed, started, reloaded, upgraded under load, removed, purged.
cp "$package" "$system/root/ghostport.deb"
boot
files >"$system/root/before"

within dpkg --install /root/ghostport.deb >/dev/null
await_agent

# A change of the administrator's, which an upgrade leaves alone.
within sh -c 'echo "payload: {capture: false}" >>/etc/ghostport/ghostport.yaml'
within systemctl reload ghostport.service || fail "the agent was not reloaded"

upgrade_under_load within dpkg --install /root/ghostport.deb
within grep -q capture /etc/ghostport/ghostport.yaml || fail "the configuration was replaced"
within journalctl -u ghostport.service -o json | grep -q '"SYSLOG_IDENTIFIER":"ghostport"' ||
    fail "nothing is in the journal"

within dpkg --remove ghostport >/dev/null
nothing_is_pinned
within test -e /etc/ghostport/ghostport.yaml || fail "removal took the configuration along"
within dpkg --purge ghostport >/dev/null 2>&1
files >"$boots.after"
if ! diff "$system/root/before" "$boots.after" >&2; then
    rm "$boots.after"
    fail "that is left behind"
fi
rm "$boots.after"
within getent passwd ghostport && fail "the user is left behind"
echo "dist: the deb was installed, reloaded, upgraded ($sent packets meanwhile, all counted), removed and purged" >&2
