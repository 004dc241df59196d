#!/usr/bin/env bash
# Builds deploy/Dockerfile as localhost/admitone:check with buildah, on a base of Debian's packages: no registry of images is asked.
# Needs root and Debian. The base (a minute to make, 120 MB) is kept in .venv/image-base.tar.
set -euo pipefail
cd "$(dirname "$0")/.."
image=localhost/admitone:check
base=localhost/admitone-base:check
tar=.venv/image-base.tar

scripts/install_tools.sh buildah podman runc catatonit mmdebstrap nginx

if [ ! -f "$tar" ]; then
    echo "Making a base with Python from Debian's packages (a minute, once) ..."
    mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true)
    [ -n "$mirror" ] || mirror=$(awk '$1 == "URIs:" { print $2; exit }' /etc/apt/sources.list.d/*.sources)
    mkdir -p "$(dirname "$tar")"
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates trixie "${tar%.tar}.new.tar" "$mirror"
    mv "${tar%.tar}.new.tar" "$tar"
fi
podman import --quiet "$tar" "$base" >/dev/null

# The builder takes packages from where this machine takes them.
volumes=()
for file in /etc/ssl/certs /etc/pip.conf /etc/xdg/pip "${PIP_CONFIG_FILE:-/nowhere}"; do
    [ -e "$file" ] && volumes+=(-v "$file:$file:ro")
done
environment=()
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE PIP_FIND_LINKS SSL_CERT_FILE; do
    [ -n "${!name:-}" ] && environment+=(--env "$name=${!name}")
done
buildah bud --isolation chroot --network host --format docker --build-arg "BASE=$base" \
    --build-arg "REVISION=$(git rev-parse HEAD)" "${volumes[@]}" -f deploy/Dockerfile --ignorefile .dockerignore -t "$image" . >.venv/image-build.log 2>&1 \
    || { tail -30 .venv/image-build.log; exit 1; }
echo "$image is built."
