#!/bin/busybox sh
# The guest's init: an ext4 on a volume whose server is killed in the middle of writing. It comes back from
# another server, which followed the first one. What a file must hold is known before it is written; the
# host is told of each whose fsync returned 0, and says which of them must be there afterwards.
#
# Talks to the host in lines `@@ TOPIC words` on the console; waits with `read` where the host must act.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
stty -echo
. /settings

failed() {
  dmesg | tail -n 30
  echo "@@ failed $*"
  poweroff -f
}

for module in /modules/*; do insmod "$module" || failed "insmod $module"; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
mkdir -p /mnt
head -c 4194304 /dev/urandom > /tmp/random
: > /tmp/written

# $1 port.
connect() {
  nbd-client -N v 10.0.2.2 "$1" /dev/nbd0 -timeout 30 -C 4 -b 4096 > /tmp/connect 2>&1 ||
    failed "nbd-client: $(cat /tmp/connect)"
  mount -t ext4 -o noatime /dev/nbd0 /mnt || failed mount
}

disconnect() {
  umount /mnt || failed umount
  nbd-client -d /dev/nbd0 > /dev/null 2>&1
}

# Writes files $1-1, $1-2, ... until one fails or there are $2. Each is between 4 and about 150 KiB.
write_files() {
  local series="$1" most="$2" number=0 size sum
  while [ "$number" -lt "$most" ]; do
    number=$((number + 1))
    size=$((4096 + (number * 37987) % 150000))
    { echo "$series-$number"; tail -c +$((number * 101)) /tmp/random | head -c "$size"; } > /tmp/next
    sum="$(md5sum < /tmp/next)"
    dd if=/tmp/next of="/mnt/$series-$number" bs=64k conv=fsync 2> /dev/null || return 1
    echo "${sum%% *}  /mnt/$series-$number" >> /tmp/written
    echo "@@ fsynced $(wc -l < /tmp/written)"
  done
}

# The first $1 of all.
check_files() {
  echo 3 > /proc/sys/vm/drop_caches
  head -n "$1" /tmp/written > /tmp/wanted
  md5sum -c /tmp/wanted > /tmp/checked 2>&1 ||
    failed "lost: $(grep -v ': OK$' /tmp/checked | head -n 5)"
}

echo "@@ up"
nbd-client -N v 10.0.2.2 "$FIRST" /dev/nbd0 -timeout 30 -b 4096 > /dev/null 2>&1
mkfs.ext4 -q -F /dev/nbd0 || failed mkfs.ext4
nbd-client -d /dev/nbd0 > /dev/null 2>&1
connect "$FIRST"
echo "@@ mounted"
read -r _

write_files first 100000 && failed 'the writer did not notice'
disconnect
echo "@@ stopped $(wc -l < /tmp/written)"
read -r files

connect "$SECOND"
check_files "$files"
umount /mnt || failed umount
e2fsck -fn /dev/nbd0 > /tmp/check 2>&1 || { tail -n 20 /tmp/check; failed 'ext4 is not clean'; }
mount -t ext4 -o noatime /dev/nbd0 /mnt || failed 'mount again'
head -n "$files" /tmp/written > /tmp/kept
mv /tmp/kept /tmp/written
write_files second 5 || failed 'writing at the second server'
check_files $((files + 5))
disconnect
echo "@@ done"
poweroff -f
