#!/bin/sh
# Runs a command with its temporary files on a btrfs of its own, which ends with it.
#
# Usage: on_btrfs.sh COMMAND WORD... Exit code 77: there is no btrfs to be had.
set -eu

skip() {
  echo "SKIPPED: $1"
  exit 77
}

if [ "${BERTH_ON_BTRFS:-}" != "$$" ]; then
  [ "$(id -u)" = 0 ] || skip "mounting needs root"
  command -v mkfs.btrfs >/dev/null || skip "mkfs.btrfs is missing"
  BERTH_ON_BTRFS=$$ exec unshare --mount --propagation private "$0" "$@"
fi

folder=$(mktemp -d)
# Its loop device goes with the mount.
trap 'umount "$folder/mnt" 2>/dev/null || true; rm -rf "$folder"' EXIT
mkdir "$folder/mnt"
truncate -s 1G "$folder/disk"
mkfs.btrfs -q "$folder/disk"
mount -o loop "$folder/disk" "$folder/mnt" || skip "btrfs cannot be mounted here"
code=0
TMPDIR="$folder/mnt" "$@" || code=$?
exit "$code"
