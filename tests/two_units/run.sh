#!/bin/sh
# Proves that several translation units may include the header, also units compiled with different switches: each is
# compiled without a warning, linked with a plain one into one program and run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${BUILD:-/tmp}/two_units
mkdir -p "$dir"
cd "$dir"
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Werror'

unit() {  # unit NAME FLAGS...: compiles unit.cpp to NAME.o
  name=$1
  shift
  # shellcheck disable=SC2086 # the words are wanted
  "${CXX:-c++}" -std=c++17 $warnings -I"$here/../.." -DUNIT="$name" "$@" -c "$here/unit.cpp" -o "$name.o"
}

with_first() {  # with_first WHAT FLAGS...: the first unit and one compiled with these flags
  printf '%s: ' "$1"
  shift
  unit second "$@"
  "${CXX:-c++}" -std=c++17 "$here/main.cpp" first.o second.o -o program
  ./program
}

unit first
with_first 'the same switches'
with_first 'one without exceptions' -fno-exceptions
with_first 'one without RTTI' -fno-rtti
with_first 'another standard' -std=c++20
with_first 'a private copy under another name' -DMEMORIA_FS_NAMESPACE=own -DUNIT_NAMESPACE=own
if [ -n "${INCLUDE:-}" ]; then
  with_first 'one with the tests' -isystem "$INCLUDE" -DMEMORIA_FS_TESTS -DDOCTEST_CONFIG_IMPLEMENT -include doctest/doctest.h
fi
