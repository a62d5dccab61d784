# The archive, whose script installs, upgrades and removes, on a system without any package of ghostport.
unpack() {
    within sh -c 'rm -rf /root/archive && mkdir /root/archive &&
        tar -xzf /root/ghostport.tar.gz -C /root/archive --strip-components=1'
}

cp "$package" "$system/root/ghostport.tar.gz"
boot
unpack
files >"$system/root/before"

within /root/archive/install.sh
await_agent
within test -e /usr/share/doc/ghostport/README.md || fail "there is no README"
pid=$(main_pid)
within grep -q '^Uid:.*[1-9]' "/proc/$pid/status" || fail "the agent runs as root"

# A change of the administrator's, which neither an upgrade nor unpacking over it touches.
within sh -c 'echo "payload: {capture: false}" >>/etc/ghostport/ghostport.yaml'
within tar -xzf /root/ghostport.tar.gz -C / --strip-components=1 --exclude='*/install.sh'
within grep -q capture /etc/ghostport/ghostport.yaml || fail "unpacking replaced the configuration"
upgrade_under_load within /root/archive/install.sh
within grep -q capture /etc/ghostport/ghostport.yaml || fail "the configuration was replaced"

if [ "$(command -v shut_down)" ]; then
    within /etc/init.d/ghostport reload || fail "the agent was not reloaded"
    within sh -c 'cp /etc/ghostport/ghostport.yaml /root/good && echo "prots: [1]" >>/etc/ghostport/ghostport.yaml'
    ! within /etc/init.d/ghostport reload 2>/dev/null || fail "a wrong configuration was taken"
    within mv /root/good /etc/ghostport/ghostport.yaml
    shut_down
    boot
    await_agent
fi

within /root/archive/install.sh --uninstall
nothing_is_pinned
within test -e /etc/ghostport/ghostport.yaml || fail "removal took the configuration along"
within /root/archive/install.sh --no-start
within /root/archive/install.sh --uninstall --purge
files >"$boots.after"
if ! diff "$system/root/before" "$boots.after" >&2; then
    rm "$boots.after"
    fail "that is left behind"
fi
rm "$boots.after"
within getent passwd ghostport && fail "the user is left behind"
within rm -r /root/archive
echo "dist: the archive was installed, upgraded ($sent packets meanwhile, all counted), removed and purged" >&2
