#!/bin/busybox sh
# The guest's first program: mounts its root (vda) and the host's files (vdb), lays berthd and its units over the root, which the
# host discards when the guest ends, and hands over to systemd.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
for module in /modules/*; do busybox insmod "$module"; done
for _ in $(busybox seq 100); do [ -b /dev/vdb ] && break; busybox sleep 0.1; done
busybox mount -t ext4 -o noatime /dev/vda /root || exec busybox sh
busybox mount -t ext4 -o ro /dev/vdb /root/payload || exec busybox sh
busybox cp -a /root/payload/root/. /root/
busybox chroot /root /sbin/ldconfig
busybox umount /proc
busybox umount /sys
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
