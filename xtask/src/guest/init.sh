#!/bin/busybox sh
# The guest's first process: makes its root of the shared file system, then becomes the job.
set -e
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "$module"; done < /modules/order

share() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$2" "$1" "/$1"; }
for layer in host kernel tools; do share $layer ro,cache=loose; done
share job rw,cache=none
mount -t tmpfs -o mode=755,size=50% memory /memory
mkdir /memory/files /memory/work
mount -t overlay -o lowerdir=/tools:/kernel:/host,upperdir=/memory/files,workdir=/memory/work root /new

for place in dev proc sys; do mount --move "/$place" "/new/$place"; done
mkdir -p /new/dev/pts /new/dev/shm
ln -s /proc/self/fd /new/dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s "fd/${stream#*:}" "/new/dev/${stream%:*}"; done
mount -t devpts devpts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t bpf bpf /new/sys/fs/bpf
mount -t tracefs tracefs /new/sys/kernel/tracing
# This machine's network namespaces and sockets are not the guest's.
mount -t tmpfs -o mode=755 run /new/run
mkdir /new/run/job
mount --move /job /new/run/job
exec switch_root /new /bin/sh /run/job/run
