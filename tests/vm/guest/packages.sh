#!/bin/sh
# packages.sh new|old|none: the packages of /payload/debs, installed by apt; all but those that a test adds itself. Does nothing when they
# are there already.
set -eu
export DEBIAN_FRONTEND=noninteractive
later="berth-plugin-snapshot-native"

files() {
  for file in "/payload/debs/$1"/*.deb; do
    case "$(basename "$file")" in "${later}_"*) ;; *) echo "$file" ;; esac
  done
}

version_of() { dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null || true; }

if [ "$1" = none ]; then
  # shellcheck disable=SC2046  # one word per package
  dpkg --purge $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 'berth*' 'libberth*' | sed -n 's/ \(installed\|config-files\)$//p')
  exit 0
fi
wanted="installed $(dpkg-deb -f "$(files "$1" | grep '/berth_')" Version)"
[ "$(version_of berth)" != "$wanted" ] || [ "$(version_of berth-plugins-standard)" != "$wanted" ] || exit 0
# shellcheck disable=SC2046
exec apt-get -q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold install --no-install-recommends $(files "$1")
