#!/bin/sh
# Installs ghostport from the unpacked archive as the packages do, on systems that have no package of it.
set -eu
umask 022

usage() {
    cat <<'END'
Usage: ./install.sh [--root FOLDER] [--no-start]
       ./install.sh --uninstall [--purge] [--root FOLDER]

Installs ghostport, or upgrades an installation of this script, and starts the
agent. A configuration that is there stays as it is. Needs root.

  --root FOLDER  the root of another system, where nothing is started
  --no-start     neither enables nor starts the agent
  --uninstall    stops the agent, removes its hooks and the installed files;
                 configuration, history and logs stay
  --purge        removes those as well, and the user
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

say() {
    echo "install.sh: $*"
}

here=$(cd "$(dirname "$0")" && pwd)
root=
action=install
start=yes
purge=no
while [ $# -gt 0 ]; do
    case $1 in
    --root) [ $# -gt 1 ] || fail "--root needs a folder"; root=${2%/}; shift ;;
    --no-start) start=no ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
[ "$(id -u)" = 0 ] || fail "only root can install"
[ -z "$root" ] || [ -d "$root" ] || fail "$root is no folder"
[ -z "$root" ] || start=no

shared=$root/usr/share/ghostport
# The files of the installation, one a line, without the slash in front.
list=$shared/installed-files
script=/etc/init.d/ghostport

# What starts services here: systemd, init.d, or nothing that is known.
manager() {
    if [ -n "$root" ]; then
        if [ -e "$root/lib/systemd/systemd" ] || [ -e "$root/usr/lib/systemd/systemd" ]; then
            echo systemd
        elif [ -d "$root/etc/init.d" ]; then
            echo init.d
        fi
    elif [ -d /run/systemd/system ]; then
        echo systemd
    elif [ -d /etc/init.d ]; then
        echo init.d
    fi
}

refuse_packages() {
    [ -z "$root" ] || return 0
    if command -v dpkg-query >/dev/null &&
        dpkg-query --show --showformat '${Status}' ghostport 2>/dev/null | grep -q ' installed$'; then
        fail "ghostport is installed as a package: use apt"
    fi
    if command -v rpm >/dev/null && rpm --query ghostport >/dev/null 2>&1; then
        fail "ghostport is installed as a package: use dnf or zypper"
    fi
}

# A file is replaced whole: the running program keeps its own.
put() {
    mkdir -p "$(dirname "$2")"
    rm -f "$2.new"
    cp -P "$1" "$2.new"
    if [ ! -L "$2.new" ]; then
        chmod "$3" "$2.new"
        chown 0:0 "$2.new"
    fi
    mv -f "$2.new" "$2"
}

install_files() {
    new=$(cd "$here" && find usr \( -type f -o -type l \) | LC_ALL=C sort)
    if [ -f "$list" ]; then
        # What this version has no more.
        printf '%s\n' "$new" >"$list.new"
        { grep -Fxv -f "$list.new" "$list" || true; } | while IFS= read -r file; do
            [ "$file" = "${script#/}" ] || rm -f "$root/$file"
        done
    fi
    printf '%s\n' "$new" | while IFS= read -r file; do
        mode=644
        case $file in usr/bin/*) mode=755 ;; esac
        put "$here/$file" "$root/$file" "$mode"
    done
    printf '%s\n' "$new" >"$list"
    rm -f "$list.new"
}

# An administrator's file stays.
put_configuration() {
    configuration=$root/etc/ghostport/ghostport.yaml
    if [ -e "$configuration" ]; then
        say "$configuration stays as it is; $shared/ghostport.yaml is this version's"
    else
        mkdir -p "$(dirname "$configuration")"
        if [ "$(manager)" = systemd ]; then
            cp "$shared/ghostport.yaml" "$configuration"
        else
            # There is no journal.
            sed 's,{kind: journal},{kind: file\, path: /var/log/ghostport/events.jsonl},
                s,^# Events.*,# Events: /var/log/ghostport/events.jsonl,' \
                "$shared/ghostport.yaml" >"$configuration"
        fi
    fi
    if [ "$(manager)" = systemd ] && [ -d "$root/etc/logrotate.d" ] &&
        [ ! -e "$root/etc/logrotate.d/ghostport" ]; then
        cp "$shared/logrotate" "$root/etc/logrotate.d/ghostport"
    fi
}

in_root() {
    if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi
}

make_user() {
    ! grep -q '^ghostport:' "$root/etc/passwd" || return 0
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers --root="${root:-/}" ghostport.conf
    elif in_root sh -c 'command -v useradd' >/dev/null 2>&1; then
        in_root useradd --system --user-group --no-create-home --home-dir / \
            --shell /usr/sbin/nologin ghostport
    else
        say "there is neither systemd-sysusers nor useradd: the agent will run as root"
    fi
}

enable_and_start() {
    case $(manager) in
    systemd)
        [ "$start" = yes ] || return 0
        systemctl daemon-reload
        if [ "$fresh" = yes ]; then
            systemctl enable --now ghostport.service
        else
            # Leaves the hooks to the new agent, so that nothing is missed in between.
            systemctl try-restart ghostport.service
        fi
        ;;
    init.d)
        put "$shared/init.d" "$root$script" 755
        echo "${script#/}" >>"$list"
        [ "$start" = yes ] || return 0
        if [ "$fresh" = yes ]; then
            if command -v update-rc.d >/dev/null; then
                update-rc.d ghostport defaults
            else
                say "make your init start $script"
            fi
            "$script" start
        else
            ! "$script" status >/dev/null || "$script" restart
        fi
        ;;
    *) say "nothing starts the agent: let your init run /usr/bin/ghostport run" ;;
    esac
}

install_all() {
    refuse_packages
    [ -f "$here/usr/bin/ghostport" ] || fail "$here is not the unpacked archive"
    [ -n "$root" ] || "$here/usr/bin/ghostport" --version >/dev/null 2>&1 ||
        fail "the program of this archive does not run here: is it for another architecture?"
    fresh=yes
    [ ! -f "$list" ] || fresh=no
    install_files
    put_configuration
    make_user
    enable_and_start
    say "ghostport is installed"
}

stop_agent() {
    [ -z "$root" ] || return 0
    case $(manager) in
    systemd)
        systemctl disable --quiet --now ghostport-selftest.timer ghostport.service || true
        ;;
    init.d)
        [ ! -x "$script" ] || "$script" stop || true
        ;;
    esac
    # Once the program is gone, its counters could not be removed from the kernel.
    /usr/bin/ghostport detach >/dev/null || true
}

uninstall() {
    [ -f "$list" ] || fail "there is no installation of this script in ${root:-/}"
    stop_agent
    while IFS= read -r file; do
        rm -f "$root/$file"
    done <"$list"
    # Folders that are empty now, the innermost first.
    folders=$(sed 's,/[^/]*$,,' "$list" | LC_ALL=C sort -ru)
    rm -f "$list"
    rmdir "$shared" 2>/dev/null || true
    printf '%s\n' "$folders" | while IFS= read -r folder; do
        while [ "$folder" != usr ] && [ "${folder#usr}" != "$folder" ]; do
            rmdir "$root/$folder" 2>/dev/null || break
            folder=${folder%/*}
        done
    done
    if [ -z "$root" ]; then
        case $(manager) in
        systemd) systemctl daemon-reload ;;
        init.d) ! command -v update-rc.d >/dev/null || update-rc.d ghostport remove ;;
        esac
    fi
    if [ "$purge" = yes ]; then
        rm -rf "$root/etc/ghostport" "$root/var/lib/ghostport" "$root/var/log/ghostport" \
            "$root/run/ghostport" "$root/etc/logrotate.d/ghostport"
        if grep -q '^ghostport:' "$root/etc/passwd"; then
            in_root userdel ghostport || say "the user ghostport is left"
        fi
    fi
    say "ghostport is removed"
}

case $action in
install) install_all ;;
uninstall) uninstall ;;
esac
