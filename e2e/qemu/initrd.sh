#!/busybox sh
# Loads what it takes to read the root disk, and goes on there.
b=/busybox
$b mkdir -p /dev /root
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod "$module"; done
until [ -b /dev/vda2 ]; do $b usleep 20000; done
$b mount -t ext4 /dev/vda2 /root
$b mount --move /dev /root/dev
exec $b switch_root /root /init
