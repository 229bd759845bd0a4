# Sourced by the other tools: where things are, and steps that log quietly and say how long they take.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
VENV=$ROOT/.venv
LOGS=$ROOT/.cache/logs
STAMPS=$ROOT/.cache/stamps
mkdir -p "$LOGS" "$STAMPS"

# use_maturin_config: tells cargo's build of the extension module what maturin tells it, in the very file that maturin
# writes, so that building a wheel does not compile everything anew (and neither does the build after it).
use_maturin_config() {
  local target version
  target=$(rustc -vV | sed -n 's/^host: //p')
  version=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  export PYO3_CONFIG_FILE=$ROOT/target/maturin/pyo3-config-$target-$version-abi3.txt
  mkdir -p "${PYO3_CONFIG_FILE%/*}"
  [ -e "$PYO3_CONFIG_FILE" ] || printf '%s\n' implementation=CPython version=3.10 target_abi=CPython-abi3-3.10 shared=true \
    build_flags= suppress_build_script_link_lines=false >"$PYO3_CONFIG_FILE"
}

# The extension module takes Python's symbols from the process that loads it, and links no libpython.
export PYO3_BUILD_EXTENSION_MODULE=1

fail() {
  echo "rudf: $*" >&2
  exit 1
}

# step NAME TEXT COMMAND...: runs the command with its output in .cache/logs/NAME.log, which is shown where it fails.
# What takes longer than two seconds is named, and every 20 seconds the last line of its log is shown.
step() {
  local name=$1 text=$2 start=$SECONDS
  shift 2
  "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
  local child=$! shown=-1
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.1
    if [ "$shown" = -1 ] && [ $((SECONDS - start)) -ge 2 ]; then
      shown=0
      printf '%s ...\n' "$text" >&2
    elif [ $((SECONDS - start)) -ge $((shown + 20)) ] && [ "$shown" -ge 0 ]; then
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
