#!/bin/sh
# Apptainer on Debian 12, which has no package of it: that of Debian's unstable suite, with a C library of its own
# beside it. For tests and for who has no other way; needs root and apt. A machine that has Apptainer keeps it, and is
# left as it is. docs/containers.md says how others get it. What changes elsewhere:
#   apt         installs the packages of `from_apt`, of this machine's own release
#   new         /usr/bin/apptainer, /etc/apptainer, /opt/apptainer, /var/lib/apptainer, /usr/lib/<machine>-linux-gnu/apptainer
#   /etc/subuid, /etc/subgid
#               a line for root, where there is none: numbers that images may use for users and groups
#   /dev/fuse   may be used by everybody, until the machine starts again: so ordinary users mount images
set -eu
runtime=/opt/apptainer
libraries=/usr/lib/$(uname -m)-linux-gnu
keys=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "lapwing: $1" >&2
    exit 1
}

mirror() { # that of this machine's own apt
    found=$(grep -hm1 '^URIs:' /etc/apt/sources.list.d/debian.sources 2>/dev/null | awk '{print $2}') || true
    [ -n "$found" ] || found=$(grep -hE '^deb ' /etc/apt/sources.list | grep -oE 'https?://[^ ]+/debian/?' | head -1)
    echo "$found"
}

from_apt() { # what is needed around it, from this machine's own release
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends \
        patchelf squashfs-tools squashfuse uidmap fuse3 mmdebstrap libseccomp2 libsqlite3-0 ca-certificates >/dev/null
}

unpack() { # to $work/x, without telling this machine's apt of the other suite
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/x"
    : >"$work/status"
    echo "deb [signed-by=$keys] $(mirror) sid main" >"$work/sources.list"
    set -- -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/nonexistent \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Dir::State::status="$work/status" \
        -o APT::Sandbox::User=root
    apt-get "$@" -qq update
    (cd "$work" && apt-get "$@" -qq download apptainer libc6)
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/x"; done
}

put_in_place() {
    from=$work/x$libraries
    mkdir -p "$runtime" "$libraries/apptainer" /var/lib/apptainer/mnt/session /var/lib/apptainer/mnt/source
    loader=$(basename "$(ls "$from"/ld-linux-*.so.*)")
    for name in "$loader" libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 libresolv.so.2 librt.so.1; do
        cp -a "$from/$name" "$runtime/"
    done
    cp -a "$from"/libnss_* "$runtime/"
    [ -d /etc/apptainer ] || cp -a "$work/x/etc/apptainer" /etc/
    cp -a "$from/apptainer/." "$libraries/apptainer/"
    cp -a "$work/x/usr/bin/apptainer" "$work/apptainer"
    for program in "$work/apptainer" "$libraries/apptainer/bin/starter"; do
        patchelf --set-interpreter "$runtime/$loader" "$program"
        patchelf --force-rpath --set-rpath "$runtime" "$program"
    done
    mv "$work/apptainer" /usr/bin/apptainer
}

configure() {
    # A machine that is itself a container or a small virtual one may lack capabilities; asking for all of them fails.
    all=$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))
    [ "$(awk '/CapEff/{print $2}' /proc/self/status)" = "$all" ] ||
        sed -i 's/^root default capabilities = .*/root default capabilities = no/' /etc/apptainer/apptainer.conf
    for file in /etc/subuid /etc/subgid; do # to build as if root, whoever builds
        grep -q '^root:' "$file" 2>/dev/null || echo root:100000:65536 >>"$file"
    done
    [ ! -e /dev/fuse ] || chmod 666 /dev/fuse # images mounted by an ordinary user
}

if ! command -v apptainer >/dev/null; then
    [ "$(id -u)" = 0 ] || fail "Only root can install Apptainer this way; docs/containers.md says how others do."
    command -v apt-get >/dev/null || fail "This is for Debian; docs/containers.md says how others get Apptainer."
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    from_apt
    unpack
    put_in_place
    configure
fi
apptainer --version
