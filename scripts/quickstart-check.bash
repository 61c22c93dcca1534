# What scripts/quickstart --check does; sourced by it.

# The load, and the proof that nothing of it was lost; see there.
load=("${typescript[@]}" "$root/scripts/quickstart-check.ts")

work=
writer=
watchdog=

# What is left of a check that did not pass stays, for whoever wants to see why.
end_check() {
  local status="$?"
  trap - EXIT
  signal_all KILL
  [ -z "$writer" ] || kill -KILL "$writer" 2> /dev/null || true
  [ -z "$watchdog" ] || kill -KILL "$watchdog" 2> /dev/null || true
  hide_lag
  if [ "$status" -eq 0 ] || [ -n "$signalled" ]; then
    rm -rf "$work"
  else
    say "check: FAILED; data, log and record of what was written are in $work" >&2
  fi
  exit "$status"
}

# $1 a name.
start_for_check() {
  local words=()
  [ -e "$work/$1" ] || words=(--name "$1")
  start "$1" ${words[@]+"${words[@]}"} --data "$work/$1" --nbd 127.0.0.1:0 --listen 127.0.0.1:0 2>> "$work/log" || {
    tail -n 5 "$work/log" >&2
    say "check: the daemon did not start" >&2
    exit 1
  }
}

uri_of() { say "nbd://${address[$1]}/$volume"; }

# Reads all of the volume at system $1 and compares; $2: an earlier record, what came after that may be missing.
verify() {
  local source
  source="$(uri_of "$1")"
  if [ -n "$nbdcopy" ]; then
    "$nbdcopy" "$source" "$work/copy"
    source="$work/copy"
  fi
  "${load[@]}" verify "$source" "$work/record" "$work/image" ${2:+"$2"}
  rm -f "$work/copy"
}

# Writes to system $1 until the connection breaks, or for $2 seconds; returns once it is under way.
begin_writing() {
  "${load[@]}" write "$(uri_of "$1")" "$work/record" "$image_bytes" "$qemu_io" ${2:+"$2"} > "$work/written" &
  writer="$!"
  exec 4< "$work/written"
  read -r _ <&4 || { wait "$writer"; exit 1; }
}

# Sets written to what was.
end_writing() {
  read -r written <&4 || true
  wait "$writer"
  writer=
  exec 4<&-
}

kill_daemon() {
  kill -KILL "${daemon[$1]}"
  wait_for_daemon "$1" || true
}

check_restarts() {
  local round
  start_for_check first
  make_default first > "$work/made"
  head -c "$image_bytes" /dev/urandom > "$work/image"
  if [ -n "$nbdcopy" ]; then
    "$nbdcopy" --flush "$work/image" "$(uri_of first)"
  else
    "${load[@]}" fill "$(uri_of first)" "$work/image"
  fi
  say "check: an image of $((image_bytes / 1048576)) MiB copied in and flushed"
  for round in 1 2 3; do
    begin_writing first
    sleep "0.$((RANDOM % 8 + 1))"
    kill_daemon first
    end_writing
    start_for_check first
    verify first
    say "check: kill -9 number $round with $written; restarted, nothing acknowledged is lost"
  done
  kill -TERM "${daemon[first]}"
  wait_for_daemon first
  start_for_check first
  verify first
  say "check: stopped and started again, everything is there"
}

# Waits until every copy has all that the primary has, and compares them.
compare_copies() {
  local name uris=()
  for name in $(running); do
    uris+=("$(uri_of "$name")")
    [ "$name" != "$primary" ] || continue
    jnbd wait "$group" --for synced --timeout 60s --data "${data[$name]}" --json > /dev/null
  done
  "${load[@]}" same "${uris[@]}"
}

check_copies() {
  local name
  for name in "${copies[@]}"; do start_for_check "$name"; done
  primary=first
  let_follow
  # Begins before what it is to show: it takes a moment to start.
  show_lag lines
  compare_copies
  say "check: second and third have copied first, byte for byte"

  begin_writing first 3
  end_writing
  hide_lag
  compare_copies
  say "check: $written, the copies kept up and are the same"

  cp "$work/record" "$work/copied"
  begin_writing first
  sleep "0.$((RANDOM % 8 + 1))"
  kill_daemon first
  end_writing
  "$root/scripts/promote-replica" "$group" "${data[second]}" "${data[third]}" > "$work/promoted"
  find_primary
  verify "$primary" "$work/copied"
  say "check: kill -9 of first with $written; $primary is primary, and has everything up to one moment"
  begin_writing "$primary" 1
  end_writing
  compare_copies
  verify "$primary"
  say "check: $written there, its copy is the same"

  start_for_check first
  "$root/scripts/failback" --timeout 60 "$group" "${data[first]}" "${data[$primary]}" \
    "${data[second]}" "${data[third]}" > "$work/returned"
  find_primary
  [ "$primary" = first ]
  compare_copies
  verify first
  say "check: first is back, by the difference alone, and primary again; all three are the same"
}

check() {
  local nbdcopy qemu_io written image_bytes=33554432 seconds=170
  volume_size=128MiB
  journal_size=64MiB
  nbdcopy="$(command -v nbdcopy || true)"
  qemu_io="$(command -v qemu-io || true)"
  work="$(mktemp -d "${TMPDIR:-/tmp}/jnbd-check.XXXXXX")"
  pipes="$work"
  trap end_check EXIT
  trap 'signalled=yes; exit 130' INT
  trap 'signalled=yes; exit 143' TERM HUP
  trap 'say "check: not done after $seconds seconds" >&2; exit 1' USR1
  node -e 'setTimeout(() => process.kill(process.ppid, "SIGUSR1"), process.argv[1] * 1000)' "$seconds" &
  watchdog="$!"
  disown
  say "check: in $work; copying with ${nbdcopy:-our own client}, writing with ${qemu_io:-our own client}"
  mkfifo "$work/written"
  check_restarts
  check_copies
  signal_all TERM
  for name in $(running); do wait_for_daemon "$name"; done
  say "check: passed in $SECONDS seconds"
}
