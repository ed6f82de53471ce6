#!/bin/sh
# Builds the container of a stage from its definition and its lock; says in one sentence what is missing.
#   PYTHON=.venv/bin/python sh containers/build.sh data [containers/data.sif]
# BASE=debian: on a Debian root made with mmdebstrap. BASE=registry: on the image that the definition names.
# Wheels and the Debian root stay in containers/.build, so that a second image or another attempt is quick.
set -eu
cd "$(dirname "$0")/.."
stage=$1
image=${2:-containers/$stage.sif}
made=containers/.build
lock=envs/$stage.lock.txt

fail() {
    echo "lapwing: $1" >&2
    exit 1
}

needs() {
    command -v "$1" >/dev/null || fail "There is no $1; $2"
}

fetch_wheels() { # with this machine's pip and its configuration, whatever its Python, for that of the images
    platforms=$(seq 5 36 | sed "s/.*/--platform manylinux_2_&_$(uname -m)/")
    # shellcheck disable=SC2086
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$lock" \
        --dest "$made/wheels" --only-binary :all: --python-version 3.11 --implementation cp \
        $platforms --platform "manylinux2014_$(uname -m)" --platform "linux_$(uname -m)"
}

make_debian() { # from where this machine's own apt takes Debian 12, otherwise from Debian
    needs mmdebstrap "install it with: apt-get install mmdebstrap; or take the image of a registry: make containers BASE=registry"
    set --
    if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
        for sources in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
            ! grep -qsE '^(deb |Types:)' "$sources" || set -- "$@" "$sources"
        done
    fi
    rm -rf "$made/debian.part"
    mkdir -p "$made/debian.part"
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm - "$@" |
        tar -C "$made/debian.part" -x --exclude='./dev/*'
    rm -rf "$made"/debian.part/var/lib/apt/lists/* "$made"/debian.part/var/cache/apt/*
    chmod -R u+rwX,go+rX "$made/debian.part" # read by whom apptainer makes of the user
    mv "$made/debian.part" "$made/debian"
}

begun=$(date +%s.%N)
needs apptainer "docs/containers.md says how to get it."
needs flock "it is in the package util-linux."
case $PWD in *[,:]*) fail "$PWD cannot be shown to Apptainer: its name holds a comma or a colon; move it." ;; esac
mkdir -p "$made/wheels"
exec 9>"$made/lock"
flock 9 # one image at a time: they share what is in that folder
code=$("$PYTHON" -m lapwing.code) # before it is packed: what is edited meanwhile makes the image out of date
fetch_wheels
rm -rf "$made/lapwing"
"$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$made/lapwing" .

case ${BASE:-debian} in
debian)
    [ -d "$made/debian" ] || make_debian
    set -- --build-arg bootstrap=localimage --build-arg "from=$made/debian"
    ;;
registry) set -- ;;
*) fail "BASE is $BASE; debian or registry would be right." ;;
esac

apptainer --quiet build --fakeroot --force --bind "$PWD:/mnt:ro" --mksquashfs-args "-comp zstd -Xcompression-level 3" "$@" \
    --build-arg "version=$("$PYTHON" -c 'import lapwing; print(lapwing.__version__)')" \
    --build-arg "commit=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)" \
    --build-arg "code=$code" \
    --build-arg "lock=sha256:$(sha256sum "$lock" | cut -d' ' -f1)" \
    "$image.part" "containers/$stage.def"
touch -d "@$begun" "$image.part" # as old as what it holds
mv "$image.part" "$image"
echo "$image: $(($(stat -c %s "$image") / 1000000)) MB, built in $(($(date +%s) - ${begun%.*})) s"
