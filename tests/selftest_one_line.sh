#!/bin/sh
# Proves that the README's one line works: the header, alone, is its own test program.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
. "$top/tests/lib.sh"
[ -n "${INCLUDE-}" ] || install c++=g++ /usr/include/doctest/doctest.h=doctest-dev || exit 2
out=${BUILD:-/tmp}/selftest_one_line
grep -h -o 'c++ -std=c++17 -DMEMORIA_FS_TESTS .* -o selftest' memoria_fs.hpp README.md | sort -u > "$out.commands"
[ "$(wc -l < "$out.commands")" -eq 1 ] || { echo "header and README must give one and the same command:"; cat "$out.commands"; exit 1; }

# shellcheck disable=SC2046 # the words are wanted
set -- $(cat "$out.commands")
shift # the compiler is ours, and so are the place of doctest and of the program
while [ "$1" != -o ]; do set -- "$@" "$1"; shift; done
shift 2
"${CXX:-c++}" ${INCLUDE:+-I"$INCLUDE"} "$@" -o "$out"
"$out"
