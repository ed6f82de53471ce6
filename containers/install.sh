#!/bin/sh
# Inside a container while it is built, with the checkout at /mnt: the lock of a stage and Lapwing itself, from wheels
# that lie there. No network, and no configuration of pip.
set -eu
made=/mnt/containers/.build
python3 -m venv /opt/lapwing
pip="/opt/lapwing/bin/python -m pip --isolated --disable-pip-version-check --no-cache-dir"
$pip install --quiet --no-index --no-deps --find-links "$made/wheels" --require-hashes --requirement "/mnt/envs/$1.lock.txt"
$pip check # what Lapwing could use besides is in the containers of the other stages
$pip install --quiet --no-index --no-deps "$made"/lapwing/*.whl
