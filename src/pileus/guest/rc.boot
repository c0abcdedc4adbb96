#!/bin/sh
# Early boot: only what a login prompt needs. File systems, modules, the root grown to its disk, host keys.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mkdir -p /dev/pts /dev/shm
ln -sf /proc/self/fd /dev/fd; ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
# virtio_rng early: without entropy the host key below would block.
for module in virtio_rng virtio_net virtio_console virtio_balloon button evdev isofs ata_piix sr_mod; do modprobe -q $module; done
hostname -F /etc/hostname
ip link set lo up
echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range
syslogd -O /var/log/messages -S
acpid -c /etc/acpi 2>/dev/null

root=$(awk '$2 == "/" && $1 != "rootfs" { print $1 }' /proc/mounts | tail -1)
[ "$root" = /dev/root ] && root=$(findfs LABEL=pileus-root)
case $root in
  /dev/vda[0-9]|/dev/sda[0-9])
    disk=${root%?}; part=${root#$disk}; class=/sys/class/block
    end=$(($(cat $class/${root##*/}/start) + $(cat $class/${root##*/}/size)))
    if [ $(($(cat $class/${disk##*/}/size) - end)) -gt 4096 ]; then
      echo ", +" | sfdisk -q --no-reread --force -N $part $disk >/dev/null 2>&1
      partx -u --nr $part $disk
    fi ;;
esac
( [ -n "$root" ] && resize2fs $root >/dev/null 2>&1 ) &
key=/etc/dropbear/dropbear_ed25519_host_key
[ -s $key ] || dropbearkey -t ed25519 -f $key >/dev/null 2>&1
