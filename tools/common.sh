# Sourced by the other tools: where things are, and steps that log quietly and say how long they take.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
VENV=$ROOT/.venv
LOGS=$ROOT/.cache/logs
STAMPS=$ROOT/.cache/stamps
mkdir -p "$LOGS" "$STAMPS"

# The extension module takes Python's symbols from the process that loads it, and links no libpython.
export PYO3_BUILD_EXTENSION_MODULE=1

fail() {
  echo "rudf: $*" >&2
  exit 1
}

# step NAME TEXT COMMAND...: runs the command with its output in .cache/logs/NAME.log, which is shown where it fails.
step() {
  local name=$1 text=$2 start=$SECONDS
  shift 2
  printf '%s ...\n' "$text" >&2
  "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
  local child=$! shown=0
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - start)) -ge $((shown + 20)) ]; then
      shown=$((SECONDS - start))
      printf '  %s: %ss; %s\n' "$text" "$shown" "$(tail -n 1 "$LOGS/$name.log" | tr -d '\r' | cut -c 1-90)" >&2
    fi
  done
  if ! wait "$child"; then
    tail -n 60 "$LOGS/$name.log" >&2
    fail "failed: $text (all of it in $LOGS/$name.log)"
  fi
}

# unchanged STAMP INPUT...: whether the inputs are what they were when `stamp` was called last.
digest() {
  { printf '%s\n' "$@"; cat "$@" 2>/dev/null || true; } | sha256sum | cut -d ' ' -f 1
}
unchanged() {
  local name=$1
  shift
  [ "$(cat "$STAMPS/$name" 2>/dev/null)" = "$(digest "$@")" ]
}
stamp() {
  local name=$1
  shift
  digest "$@" >"$STAMPS/$name"
}

# apt_install WHY PACKAGE...: installs Debian packages, or says how.
apt_install() {
  local why=$1
  shift
  command -v apt-get >/dev/null || fail "$why is missing; install it and try again ($*)"
  [ "$(id -u)" = 0 ] || fail "$why is missing; run: sudo apt-get install $*"
  export DEBIAN_FRONTEND=noninteractive
  step apt-update "looking for Debian packages" apt-get update -q
  step "apt-$1" "installing $* ($why)" apt-get install -y -q --no-install-recommends "$@"
}
