#!/bin/sh
# Proves what an include of the header costs and leaves behind: at most 72,000 preprocessed lines (g++ 12), declarations
# only at most 1.1 times what <filesystem>, <string> and <vector> have, at most five macros, all of them MEMORIA_FS_*, and
# no harm from the macros that other headers are known to define.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
dir=${BUILD:-/tmp}/include_cost
mkdir -p "$dir"
cd "$dir"
cxx() { "${CXX:-c++}" -std=c++17 -I"$top" "$@"; }
failed=0

echo '#include <memoria_fs.hpp>' > header.cpp
printf '#define MEMORIA_FS_DECLARATIONS_ONLY\n#include <memoria_fs.hpp>\n' > declarations.cpp
printf '#include <filesystem>\n#include <string>\n#include <vector>\n' > three.cpp
lines() { cxx -E "$1" | wc -l; }
lines=$(lines header.cpp)
split=$(lines declarations.cpp)
three=$(lines three.cpp)
echo "preprocessed lines: $lines (at most 72000); declarations only: $split; <filesystem>, <string>, <vector>: $three"
[ "$split" -le $((three * 11 / 10)) ] || { echo "declarations only: more than 1.1 times the three includes"; failed=1; }
case $(cxx --version) in
  *clang*) echo "(the limit of 72000 is for g++)" ;;
  *) [ "$lines" -le 72000 ] || failed=1 ;;
esac

! cxx -E -dM header.cpp | grep -E '#define (_WINDOWS_|_INC_WINDOWS|WINAPI|DeleteFile) ' || failed=1  # no <windows.h>

cxx -E -dD header.cpp | awk '
  /^# [0-9]+ "/ { ours = /memoria_fs\.hpp"/ }
  ours && /^#define / { sub(/\(.*/, "", $2); alive[$2] = 1 }
  ours && /^#undef / { delete alive[$2] }
  END { for (name in alive) print name }' | sort > survivors
echo "macros that survive: $(tr '\n' ' ' < survivors)"
[ "$(wc -l < survivors)" -le 5 ] || failed=1
! grep -v '^MEMORIA_FS_' survivors || failed=1

# To be seen, not judged: the size of the JSON part. Lines that are neither blank nor comment.
awk '/^\/\/ ---- / { json = /^\/\/ ---- \[json\] (definitions )?-/ } json && NF && !/^ *\/\// { n++ }
  END { print "lines of code of [json], interface and definitions: " n }' "$top/memoria_fs.hpp"

# The system's headers are included first, so that only ours meets the macros.
sed -n 's/^ *#include <\(.*\)>.*/\1/p' "$top/memoria_fs.hpp" | sort -u |
  while read -r name; do printf '#if __has_include(<%s>)\n#include <%s>\n#endif\n' "$name" "$name"; done > system.hpp
cxx -Wall -Wextra -Werror -include system.hpp -fsyntax-only "$top/tests/hostile_macros.cpp" || failed=1

case $(cxx -dumpmachine) in
  *mingw*) ;; # cannot see the other libraries
  *) CXX="${CXX:-c++}" python3 -B "$top/tests/cost/compile_time.py" || failed=1 ;;
esac
exit $failed
