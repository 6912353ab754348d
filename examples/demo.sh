#!/bin/sh
# Builds the `memoria` tool and checks a directory of notes with it:  sh examples/demo.sh [DIR, by default examples/vault]
# Needs a C++ compiler and nothing else; installs g++ where there is none. Exits 0 when the check ran, whatever it found.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
notes=${1:-$here/vault}
compiler=${CXX:-c++}
if ! command -v "$compiler" > /dev/null 2>&1; then
  if ! command -v apt-get > /dev/null 2>&1; then
    echo "demo.sh: no C++ compiler here; on macOS run 'xcode-select --install'" >&2
    exit 2
  fi
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  echo "demo.sh: installing g++" >&2
  $root apt-get -q -q update
  $root env DEBIAN_FRONTEND=noninteractive apt-get -q -q install -y --no-install-recommends g++ > /dev/null
  compiler=c++
fi

build=${MEMORIA_FS_BUILD:-$here/../build}
mkdir -p "$build"
echo "building memoria and checking $notes" >&2
"$compiler" -std=c++17 -O2 -I"$here/.." "$here"/memoria/*.cpp -o "$build/memoria"
status=0
"$build/memoria" check "$notes" || status=$?
[ "$status" -le 1 ] || exit "$status" # 0: clean, 1: broken or unsafe links; anything else: it could not run
