#!/usr/bin/env bash
# Builds stand-ins for the two base images of docker-compose.yaml, for an engine that reaches no registry:
#
#   base_images.sh [PYTHON]
#
# python:3.11-slim-bookworm is a minimal Debian with the CPython that PYTHON (default python3) belongs to in /usr/local;
# postgres:17-bookworm is the same with Debian's PostgreSQL, which is version 15. Needs mmdebstrap.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=${1:-python3}
suite=bookworm
base=python:3.11-slim-$suite
libraries=libbz2-1.0,libffi8,liblzma5,libncursesw6,libnsl2,libreadline8,libsqlite3-0,libssl3,libuuid1,zlib1g

proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
mmdebstrap --quiet --variant=minbase --include="ca-certificates,netbase,tzdata,$libraries" \
    --dpkgopt=force-unsafe-io \
    --aptopt='Acquire::Languages "none"' ${proxy:+--aptopt="Acquire::http::Proxy \"$proxy\""} \
    --customize-hook="\"$PWD/add_python.sh\" \"$python\" \"\$1\"" "$suite" - |
    docker import --change 'CMD ["python3"]' - "$base"
docker build --quiet --build-arg BASE="$base" --tag "postgres:17-$suite" postgres
