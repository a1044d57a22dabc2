#!/bin/busybox sh
# The guest's first process: makes its root of the shared file systems, then hands over to root.sh.
set -e
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "$module"; done < /modules/order

share() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$2" "$1" "/$1"; }
lower=
while read -r layer; do
    share "$layer" ro,cache=loose
    lower="/$layer${lower:+:$lower}"
done < /layers
share job rw,cache=none
mount -t tmpfs -o mode=755,size=50% memory /memory
mkdir /memory/files /memory/work
mount -t overlay -o "lowerdir=$lower,upperdir=/memory/files,workdir=/memory/work" root /new

for place in dev proc sys; do mount --move "/$place" "/new/$place"; done
# This machine's network namespaces and sockets are not the guest's.
mount -t tmpfs -o mode=755 run /new/run
mkdir /new/run/job
mount --move /job /new/run/job
. /root.sh
