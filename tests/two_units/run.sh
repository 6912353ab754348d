#!/bin/sh
# Proves that several translation units may include the header, also units compiled with different switches: each is
# compiled without a warning, linked with a plain one into one program and run. FLAGS: for every compiler line.
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
  "${CXX:-c++}" -std=c++17 ${FLAGS:-} $warnings "$@" -I"$here/../.." -DUNIT="$name" -c "$here/unit.cpp" -o "$name.o"
}

with_first() {  # with_first WHAT FLAGS...: the first unit and one compiled with these flags
  printf '%s: ' "$1"
  shift
  unit second "$@"
  # shellcheck disable=SC2086
  "${CXX:-c++}" -std=c++17 ${FLAGS:-} "$here/main.cpp" second.o first.o -o program  # inline functions are the second's
  ./program
}

unit first
with_first 'the same switches'
with_first 'one without exceptions' -fno-exceptions
with_first 'one without RTTI' -fno-rtti
with_first 'one portable' -DMEMORIA_FS_PORTABLE
with_first 'another standard' -std=c++20
with_first 'a private copy under another name' -DMEMORIA_FS_NAMESPACE=own -DUNIT_NAMESPACE=own

# Another version: refused in one unit, welcome in another unit of the program.
mkdir -p other
number=$(sed -n 's/^#define MEMORIA_FS_VERSION \([0-9]*\).*/\1/p' "$here/../../memoria_fs.hpp")
sed "s/^\(#.*MEMORIA_FS_VERSION[^0-9]*\)$number/\1$((number + 1))/" "$here/../../memoria_fs.hpp" > other/memoria_fs.hpp
for copy in "$here/../../memoria_fs.hpp" other/memoria_fs.hpp; do
  printf '#include "%s"\n' other/memoria_fs.hpp "$copy" other/memoria_fs.hpp > versions.cpp
  "${CXX:-c++}" -std=c++17 -fsyntax-only versions.cpp > versions.log 2>&1 && taken=yes || taken=no
  echo "$copy after other/memoria_fs.hpp: taken: $taken"
  case $copy in
    other/*) [ $taken = yes ] ;;
    *) [ $taken = no ] && grep -q '#error .*two versions of this header' versions.log ;;
  esac
done
with_first 'another version' -Iother

if [ -n "${INCLUDE:-}" ]; then
  with_first 'one with the tests' -isystem "$INCLUDE" -DMEMORIA_FS_TESTS -DDOCTEST_CONFIG_IMPLEMENT \
    -include doctest/doctest.h
fi
