#!/bin/sh
# Debian packages that the tests with real servers need; without the right to install them, only says so.
set -eu
packages="mosquitto postgresql gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad chromium fonts-dejavu-core"
command -v npm >/dev/null || packages="$packages nodejs npm"
command -v dpkg-query >/dev/null || { echo "no Debian: tests with real servers may be skipped"; exit 0; }
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
as_root=""
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || { echo "may not install$missing: their tests are skipped"; exit 0; }
    as_root="sudo -n"
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# no service is to be started by the installation: the tests start their own
$as_root env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing >/dev/null
