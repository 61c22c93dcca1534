#!/bin/busybox sh
# The guest's init: an ext4 on /dev/nbd0 and an XFS on /dev/nbd1, both with nbd-client -C 4, through two
# deaths of the server. What a file must hold is known before it is written, and the file counts once its
# fsync returned 0. The stock client cannot reconnect under a mounted filesystem (all its connections end
# and the kernel fails the I/O), so a death is to the filesystem what a power cut is: unmount,
# disconnect, connect, mount, replay.
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
mkdir -p /mnt/ext4 /mnt/xfs /tmp/ext4 /tmp/xfs
head -c 4194304 /dev/urandom > /tmp/random

device_of() { case "$1" in ext4) echo /dev/nbd0 ;; xfs) echo /dev/nbd1 ;; esac; }

connect() {
  local device
  device="$(device_of "$1")"
  nbd-client -N "$1" 10.0.2.2 "$PORT" "$device" -timeout 30 -C 4 -b 4096 > "/tmp/$1.connect" 2>&1 ||
    failed "nbd-client for $1: $(cat "/tmp/$1.connect")"
  [ "$(grep -c Negotiation "/tmp/$1.connect")" = 4 ] || failed "$1 has not four connections"
}

mount_it() { mount -t "$1" -o noatime "$(device_of "$1")" "/mnt/$1" || failed "mount $1"; }

# Writes files $2-1, $2-2, ... of $1 until one fails or there are $3. Each is between 4 and about 300 KiB.
write_files() {
  local fs="$1" series="$2" most="$3" number=0 size name
  while [ "$number" -lt "$most" ] && [ ! -e /tmp/enough ]; do
    number=$((number + 1))
    name="$series-$number"
    size=$((4096 + (number * 37987) % 300000))
    { echo "$fs $name"; tail -c +$((number * 101)) /tmp/random | head -c "$size"; } > "/tmp/$fs/next"
    set -- $(md5sum "/tmp/$fs/next")
    dd if="/tmp/$fs/next" of="/mnt/$fs/$name" bs=64k conv=fsync 2> /dev/null || return 1
    echo "$1  /mnt/$fs/$name" >> "/tmp/$fs/written"
  done
}

check_files() {
  local fs="$1"
  echo 3 > /proc/sys/vm/drop_caches
  md5sum -c "/tmp/$fs/written" > "/tmp/$fs/checked" 2>&1 ||
    failed "$fs lost data: $(grep -v ': OK$' "/tmp/$fs/checked" | head -n 5)"
}

count() { wc -l < "/tmp/$1/written"; }

check_filesystem() {
  case "$1" in
    ext4) e2fsck -fn /dev/nbd0 > /tmp/check 2>&1 ;;
    xfs) xfs_repair -n /dev/nbd1 > /tmp/check 2>&1 ;;
  esac || { tail -n 20 /tmp/check; failed "$1 is not clean"; }
}

echo "@@ up"
for fs in ext4 xfs; do connect "$fs"; done
mkfs.ext4 -q -F /dev/nbd0 || failed mkfs.ext4
mkfs.xfs -q -f /dev/nbd1 || failed mkfs.xfs
for fs in ext4 xfs; do
  mount_it "$fs"
  write_files "$fs" before 40 || failed "writing to $fs"
  check_files "$fs"
done
cp /tmp/ext4/written /tmp/ext4/first
echo "@@ connected"
read -r _

for round in 1 2; do
  before=$(($(count ext4) + $(count xfs)))
  write_files ext4 "round$round" 100000 & ext4_writer=$!
  write_files xfs "round$round" 100000 & xfs_writer=$!
  while [ $(($(count ext4) + $(count xfs))) -lt $((before + 10)) ]; do usleep 20000; done
  echo "@@ writing"
  wait "$ext4_writer" && failed 'the ext4 writer did not notice'
  wait "$xfs_writer" && failed 'the xfs writer did not notice'
  for fs in ext4 xfs; do
    umount "/mnt/$fs" || failed "umount $fs"
    nbd-client -d "$(device_of "$fs")" > /dev/null 2>&1
  done
  echo "@@ stopped $(count ext4) $(count xfs)"
  read -r _
  for fs in ext4 xfs; do
    connect "$fs"
    mount_it "$fs"
    check_files "$fs"
    umount "/mnt/$fs" || failed "umount $fs after round $round"
    check_filesystem "$fs"
    mount_it "$fs"
    check_files "$fs"
  done
done

# Of export $1, an ext4 as it was at an earlier instant: what file $2 lists is there, and it can be written to.
check_past() {
  nbd-client -N "$1" 10.0.2.2 "$PORT" /dev/nbd2 -timeout 30 -b 4096 > /tmp/past 2>&1 ||
    failed "nbd-client for $1: $(cat /tmp/past)"
  mkdir -p /mnt/past
  mount -t ext4 -o noatime /dev/nbd2 /mnt/past || failed "mount $1"
  sed 's,/mnt/ext4/,/mnt/past/,' "$2" > /tmp/expected
  md5sum -c /tmp/expected > /tmp/checked 2>&1 ||
    failed "$1 lost data: $(grep -v ': OK$' /tmp/checked | head -n 5)"
  head -c 1048576 /dev/urandom > /mnt/past/own || failed "writing to $1"
  umount /mnt/past || failed "umount $1"
  e2fsck -fn /dev/nbd2 > /tmp/check 2>&1 || { tail -n 20 /tmp/check; failed "$1 is not clean"; }
  nbd-client -d /dev/nbd2 > /dev/null 2>&1 || failed "disconnecting $1"
}

# A snapshot while ext4 is written to, and a view of how it was before both deaths. A clone of the one, and the
# other, are disks of their own: the kernel replays what the filesystem's journal had at that instant, and every file
# that was there by then is there.
write_files ext4 live 100000 & writer=$!
before=$(count ext4)
while [ "$(count ext4)" -lt $((before + 10)) ]; do usleep 20000; done
cp /tmp/ext4/written /tmp/ext4/by-then
echo "@@ snapshot"
read -r clone view
if [ -n "$clone" ]; then
  before=$(count ext4)
  check_past "$clone" /tmp/ext4/by-then
  check_past "$view" /tmp/ext4/first
  while [ "$(count ext4)" -lt $((before + 5)) ]; do usleep 20000; done
fi
touch /tmp/enough
wait "$writer"
check_files ext4
echo "@@ cloned $(wc -l < /tmp/ext4/by-then) $(count ext4)"
read -r _

for fs in ext4 xfs; do
  head -c 33554432 /dev/urandom > "/mnt/$fs/large" || failed "filling $fs"
done
sync
echo "@@ filled $(count ext4) $(count xfs)"
read -r _
for fs in ext4 xfs; do
  rm -rf "/mnt/$fs"/*
  sync
  fstrim "/mnt/$fs" || failed "fstrim $fs"
done
echo "@@ trimmed"
read -r _
for fs in ext4 xfs; do
  umount "/mnt/$fs" || failed "last umount of $fs"
  check_filesystem "$fs"
  nbd-client -d "$(device_of "$fs")" > /dev/null 2>&1 || failed "disconnecting $fs"
done
echo "@@ done"
poweroff -f
