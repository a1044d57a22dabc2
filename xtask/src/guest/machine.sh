# The root is that of the machine which emulates: the job is all that runs.
mkdir -p /new/dev/pts /new/dev/shm
ln -s /proc/self/fd /new/dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s "fd/${stream#*:}" "/new/dev/${stream%:*}"; done
mount -t devpts devpts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t bpf bpf /new/sys/fs/bpf
mount -t tracefs tracefs /new/sys/kernel/tracing
exec switch_root /new /bin/sh /run/job/run
