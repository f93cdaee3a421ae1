#!/bin/sh
# First process of a guest. Its root is the host's root, read-only: every program of the host is there
# without an image. lab.dir= on the kernel's command line names the one directory that can be written to; it
# has the same path here as on the host.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
lab=$(sed -n 's/.*lab\.dir=\([^ ]*\).*/\1/p' /proc/cmdline)
mkdir -p "$lab"
mount -t hostfs none "$lab" -o "$lab"
ip link set lo up

# The console takes one command a line and answers with lines that start with "lab:". Reading blocks,
# so an idle guest costs no processor time; when the host's end is gone, so is the guest.
exec </dev/tty0 >/dev/tty0
stty -echo
echo "lab: ready"
while read -r verb id limit; do
    case $verb in
    run) (
        timeout -k 1 "$limit" sh "$lab/$id.sh" >"$lab/$id.out" 2>&1 </dev/null
        echo "lab: done $id $?"
    ) & ;;
    halt) break ;;
    esac
done
# The end of the first process is a panic, and by panic=-1 that is the end of the guest.
