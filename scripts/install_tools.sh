#!/usr/bin/env bash
# Installs those of these commands that are missing, as packages of Debian: needs root for that.
set -euo pipefail
missing=()
for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("${command/#nginx/nginx-light}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]} (half a minute, once) ..."
    apt-get -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
fi
