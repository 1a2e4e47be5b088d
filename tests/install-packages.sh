#!/usr/bin/env bash
# Debian packages that some tests need: Chromium, for the page. Does nothing where they are there; says so where it may not.
set -euo pipefail

packages=()
command -v chromium >/dev/null || packages+=(chromium)
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${packages[*]}; the tests that need them are skipped (apt-get install ${packages[*]}, as root)" >&2
    exit 0
fi
echo "== installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
