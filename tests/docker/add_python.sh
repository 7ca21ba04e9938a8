#!/usr/bin/env bash
# Copies the CPython of an interpreter into a Debian's /usr/local, where the image python:3.11-slim has it, and with it
# the settings with which pip of this machine reaches a package index:
#
#   add_python.sh PYTHON ROOT
set -euo pipefail

python=$1
root=$2

prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [[ $version != 3.11 || $prefix == /usr ]]; then
    echo "add_python.sh: $python is CPython $version in $prefix; a 3.11 that has a folder of its own is needed." >&2
    exit 1
fi

cd "$prefix"
tar --create --exclude='site-packages/*' --exclude=__pycache__ --exclude='config-3.11-*' --exclude=lib/python3.11/test \
    bin/python3.11 lib/python3.11 lib/libpython3* | tar --extract --no-same-owner --directory "$root/usr/local"
ln -s python3.11 "$root/usr/local/bin/python3"
ln -s python3.11 "$root/usr/local/bin/python"
chroot "$root" ldconfig
chroot "$root" python -m ensurepip >/dev/null

settings='index-url|extra-index-url|trusted-host|proxy|cert|client-cert|timeout|default-timeout|retries'
{
    echo "[global]"
    "$python" -m pip config list | sed -nE "s/^(:env:|global)\.($settings)='(.*)'$/\2 = \3/p" |
        sort --stable --unique --key=1,1 # the environment's come first, and win
} >"$root/etc/pip.conf"
while read -r certificates; do
    install -D --mode=644 "$certificates" "$root$certificates"
done < <(sed -nE 's/^(cert|client-cert) = //p' "$root/etc/pip.conf")
