#!/bin/sh
# Installs a lock and Lapwing itself into an environment, by default .venv; says in one sentence what is missing.
#   PYTHON=python3 sh envs/install.sh envs/workflow.txt [.venv]
set -eu
lock=$1
folder=${2:-.venv}

fail() {
    echo "lapwing: $1" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null ||
    fail "There is no $PYTHON; install it with: apt-get install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$PYTHON" --version) is too old, 3.11 or newer is needed; install one and name it: make demo PYTHON=python3.12"
command -v git >/dev/null ||
    fail "There is no git; install it with: apt-get install git"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON has no venv module; install it with: apt-get install python3-venv"

"$folder/bin/python" -m pip --version >/dev/null 2>&1 || "$PYTHON" -m venv --clear "$folder"  # also after an interrupted attempt
echo "Installing $lock into $folder (about 5 GB with PyTorch's CUDA builds, some minutes the first time)."
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
cp "$lock" "$folder/$(basename "$lock")"
