# Systems of this and other machines, for the scripts beside this one that source it.
#
# A system is named by its data directory, DIR, or by HOST:DIR, as files are for scp: its commands run on
# HOST then, by ssh. Wants $root. JNBD is the program here (that of this clone), JNBD_REMOTE there (jnbd).

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }
say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# $1 exit code, then what is wrong.
fail() {
  local status="$1"
  shift
  warn "$@"
  exit "$status"
}

jnbd() {
  if [ -n "${JNBD:-}" ]; then "$JNBD" "$@"; else node "$root/dist/main.js" "$@"; fi
}

# $1 system, then a command of jnbd. Its exit code is the command's; 255 is ssh's own.
on() {
  local system="$1" host directory
  shift
  case "${system%%/*}" in
    *:*)
      host="${system%%:*}"
      directory="${system#*:}"
      # shellcheck disable=SC2029
      ssh -o BatchMode=yes "$host" "${JNBD_REMOTE:-jnbd}$(printf ' %q' "$@" --data "$directory")" < /dev/null
      ;;
    *) jnbd "$@" --data "$system" < /dev/null ;;
  esac
}

# Of group $2 at system $1, in words without spaces, - for what is empty:
#   NAME ROLE STATE GENERATION DURABLE APPLIED SOURCE-STATE SOURCE-NAME LISTEN-URL VOLUME-URI...
# 3: there is no such group.
group_at() {
  local status
  status="$(on "$1" status --json)" || return
  node -e '
    const [text, name] = process.argv.slice(1);
    const { system, groups } = JSON.parse(text);
    const group = groups.find((each) => each.name === name);
    if (!group) process.exit(3);
    const { role, state, generation, watermarks, upstream, volumes } = group;
    const words = [system.name, role, state, generation, watermarks.durable, watermarks.applied];
    words.push(upstream?.state, upstream?.name, system.listenUrl);
    words.push(...volumes.flatMap(({ uris }) => uris));
    console.log(words.map((word) => String(word || "-")).join(" "));
  ' "$status" "$2"
}

# Fills name, role, state, generation, durable, applied, source_state, source_name, url and uris with what
# group $2 is at system $1.
read_group() {
  local words
  words="$(group_at "$1" "$2")" || return
  read -r name role state generation durable applied source_state source_name url uris <<< "$words"
}

# $1 system, $2 group: fails with what is wrong where it cannot be asked.
require_group() {
  local status=0
  read_group "$1" "$2" || status="$?"
  case "$status" in
    0) ;;
    3) fail 3 "there is no group $2 at $1" ;;
    *) fail "$status" "$1 cannot be asked; is its daemon running?" ;;
  esac
}

# $1 seconds, then a command that is repeated until it succeeds.
until_it() {
  local deadline="$((SECONDS + $1))"
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 5
    sleep 0.2
  done
}

# $1 group, $2 its primary, $3 the primary's URL, then systems that are to follow it. What one of them refuses
# is told with the next command, and makes this fail in the end.
let_follow() {
  local group="$1" primary="$2" from="$3" system status=0
  shift 3
  for system in "$@"; do
    [ "$system" != "$primary" ] || continue
    if ! on "$system" follow "$group" --from "$from"; then
      status=4
      warn "$system does not follow; when it can: jnbd follow $group --from $from"
    fi
  done
  return "$status"
}

# $1 system, $2 group: where hosts find its volumes.
tell_hosts() {
  local uri
  require_group "$1" "$2"
  say "group $2 is $role at system $name, generation $generation, up to update $durable; hosts connect to"
  for uri in $uris; do say "  $uri"; done
}

# The value of an option that wants one.
value_of() {
  [ -n "${2:-}" ] || fail 2 "$1 needs a value"
  printf '%s' "$2"
}

# $1 group: what has to be right before anything is asked.
prepare() {
  [[ "$1" =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || fail 2 "'$1' is no name of a group"
  [ -n "${JNBD:-}" ] || "$root/scripts/build"
}
