# The root is a Debian of its own: systemd boots it, and starts the job as a service.
cat > /new/etc/systemd/system/job.service <<'UNIT'
[Unit]
Description=The job
After=systemd-user-sessions.service
[Service]
Type=oneshot
ExecStart=/bin/bash /run/job/run
UNIT
mkdir -p /new/etc/systemd/system/multi-user.target.wants
ln -s ../job.service /new/etc/systemd/system/multi-user.target.wants/job.service
# The console is the job's.
ln -s /dev/null /new/etc/systemd/system/serial-getty@hvc0.service
exec switch_root /new /sbin/init
