#!/bin/sh
# The first process of a guest: what systemd and cloud-init do in larger ones. Like cloud-init, it
# takes the host name and the user data from the disk with the label `cidata`. The user data has to
# be a script.
export PATH=/usr/sbin:/usr/bin:/usr/local/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$folder"; done
mount --make-rshared /
modprobe --all virtio_net isofs overlay br_netfilter button evdev
acpid # it ends the guest when somebody presses the power button
echo 1 > /proc/sys/net/ipv4/ip_forward

mkdir /run/seed
mount -o ro "$(blkid -L cidata)" /run/seed
hostname "$(sed -n 's/.*"local-hostname": "\([^"]*\)".*/\1/p' /run/seed/meta-data)"
ip link set lo up
ip link set eth0 up
udhcpc -q -n -t 30 -i eth0 -s /etc/udhcpc.sh

cp /run/seed/user-data /run/user-data
chmod +x /run/user-data
/run/user-data
while :; do sleep 3600 & wait; done # it also reaps orphans
