#!/bin/sh
# clang-tidy (the checks are in .clang-tidy) and cppcheck over the header and the examples: sh tests/static.sh
# Anything they find fails. What cppcheck is told not to look for, because it is mistaken:
#   accessMoved, identicalConditionAfterEarlyExit   it takes every way through a function for possible, and a handle that
#                                                   was tested and then assigned for the same one
#   returnTempReference                             std::optional::emplace returns a reference to what it holds
#   useInitializationList                           what comes from a call that has an error to report
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
install c++=g++ clang-tidy=clang-tidy cppcheck=cppcheck || { echo "skipped: no clang-tidy or cppcheck"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# The header once, and each example with the declarations of the header only.
echo '#include "memoria_fs.hpp"' > "$work/header.cpp"
echo "clang-tidy: the header"
clang-tidy --quiet --config-file="$top/.clang-tidy" --header-filter='memoria_fs\.hpp$' "$work/header.cpp" \
  -- -std=c++17 -I"$top" 2> "$work/count" || status=1
echo "clang-tidy: the examples"
find "$top/examples" -name '*.cpp' ! -name library.cpp -print0 | xargs -0 -n 4 -P "$(cpus)" sh -c '
  top=$1
  shift
  clang-tidy --quiet --config-file="$top/.clang-tidy" --header-filter="examples/" "$@" \
    -- -std=c++17 -DMEMORIA_FS_DECLARATIONS_ONLY -I"$top" 2> /dev/null' - "$top" || status=1
echo "cppcheck: the header and the examples"
find "$top/examples" -name '*.cpp' > "$work/files"
cppcheck --std=c++17 --language=c++ --enable=warning,performance,portability --quiet --error-exitcode=1 -j "$(cpus)" \
  --suppress=missingIncludeSystem --suppress=accessMoved --suppress=identicalConditionAfterEarlyExit \
  --suppress=returnTempReference --suppress=useInitializationList \
  -D__linux__ -D__cpp_exceptions=1 -D__GNUC__=12 -D__x86_64__ -D__cplusplus=201703L \
  "$top/memoria_fs.hpp" --file-list="$work/files" || status=1
[ $status -ne 0 ] || echo "nothing found"
exit $status
