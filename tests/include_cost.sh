#!/bin/sh
# Proves what an include of the header costs and leaves behind: at most 72,000 preprocessed lines (g++ 12), at most five
# macros, all of them MEMORIA_FS_*, and no harm from the macros that other headers are known to define.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
dir=${BUILD:-/tmp}/include_cost
mkdir -p "$dir"
cd "$dir"
cxx() { "${CXX:-c++}" -std=c++17 -I"$top" "$@"; }
failed=0

echo '#include <memoria_fs.hpp>' > header.cpp
lines=$(cxx -E header.cpp | wc -l)
case $(cxx --version) in
  *clang*) echo "preprocessed lines: $lines (the limit is for g++)" ;;
  *) echo "preprocessed lines: $lines (at most 72000)"; [ "$lines" -le 72000 ] || failed=1 ;;
esac

# What the system's headers define is theirs; what survives besides is ours.
sed -n 's/^ *#include <\(.*\)>.*/\1/p' "$top/memoria_fs.hpp" | sort -u |
  while read -r name; do printf '#if __has_include(<%s>)\n#include <%s>\n#endif\n' "$name" "$name"; done > system.hpp
macros() { cxx -dM -E -x c++ "$1" | sed 's/^#define \([A-Za-z0-9_]*\).*/\1/' | sort -u; }
macros system.hpp > before
macros header.cpp > after
comm -13 before after > survivors
echo "macros that survive: $(tr '\n' ' ' < survivors)"
[ "$(wc -l < survivors)" -le 5 ] || failed=1
! grep -v '^MEMORIA_FS_' survivors || failed=1

# Includes the system's headers first, so that only ours meets the macros.
cxx -Wall -Wextra -Werror -include system.hpp -fsyntax-only "$top/tests/hostile_macros.cpp" || failed=1
exit $failed
