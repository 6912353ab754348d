#!/bin/sh
# Lines and branches of the header that the tests reach, by clang's source-based coverage:
#   sh tests/coverage.sh
# Builds the test programs instrumented (the self-test also without exceptions and without vector instructions), runs
# those that use the header in their own process, and lists what was not reached, function by function. Fails when a line
# or a branch is not reached and not in tests/coverage_exceptions.txt, and below 95 % of the branches. Linux with clang:
# what only Windows or macOS compiles does not count. Four to six minutes on two processors.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
install c++=g++ make=make cmake=cmake python3=python3 clang++=clang llvm-cov=llvm \
  /usr/include/doctest/doctest.h=doctest-dev || { echo "skipped: no clang, llvm or doctest"; exit 77; }
version=$(clang++ -dumpversion | cut -d . -f 1)  # the tools have to be the compiler's
tool() { command -v "$1-$version" || command -v "$1"; }
LLVM_COV=$(tool llvm-cov)
export LLVM_COV

began=$(date +%s)
took() { echo "$1: $(($(date +%s) - began)) s"; began=$(date +%s); }

build=$top/build/coverage
rm -rf "$build/profile"
mkdir -p "$build/profile"
flags='-O0 -w -fprofile-instr-generate -fcoverage-mapping'
cmake -S "$top" -B "$build" -DCMAKE_BUILD_TYPE= -DCMAKE_CXX_COMPILER=clang++ "-DCMAKE_CXX_FLAGS=$flags" \
  -DMEMORIA_FS_BUILD_TESTS=ON > "$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 2; }
# What the chosen tests run, and no more (ctest wants to know the cases of big_files, too): unoptimised, each program is
# minutes of compilation.
programs='selftest bad_input failures json_conformance json_echo dump_links neighbour confine_driver confine_races'
programs="$programs memoria quickstart"
# shellcheck disable=SC2086 # the words are wanted
LLVM_PROFILE_FILE=/dev/null cmake --build "$build" --parallel "$(cpus)" --target $programs big_files > "$build/build.log" 2>&1 ||
  { tail -n 40 "$build/build.log"; exit 2; }
variant() {  # variant NAME FLAGS...: the self-test once more
  name=$1
  shift
  # shellcheck disable=SC2086 # the words are wanted
  clang++ -std=c++17 $flags "$@" -I"$top" "$top/tests/selftest.cpp" -pthread -o "$build/tests/$name"
}
variant selftest_no_exceptions -fno-exceptions -DDOCTEST_CONFIG_NO_EXCEPTIONS_BUT_WITH_ALL_ASSERTS
variant selftest_portable -DMEMORIA_FS_PORTABLE
took "programs built"

export LLVM_PROFILE_FILE="$build/profile/%2m.profraw"
export MEMORIA="$build/examples/memoria"
cd "$build/tests"
for program in selftest selftest_no_exceptions selftest_portable bad_input failures; do
  "./$program" --minimal || { echo "$program fails"; exit 1; }
  took "$program"
done
chosen='quickstart|tool|json_conformance|json_differential|links_differential|neighbours_(counters|no_permission)'
(cd "$build" && ctest --output-on-failure --parallel "$(cpus)" \
  -R "^($chosen|confine_(paths|tree|payloads|races_.*_steps))\$" > ctest.log 2>&1) ||
  { tail -n 60 "$build/ctest.log"; echo "failing tests cover nothing"; exit 1; }
grep -E 'Test +#|tests passed' "$build/ctest.log"
took "chosen tests"
unset LLVM_PROFILE_FILE

"$(tool llvm-profdata)" merge "$build"/profile/*.profraw -o "$build/all.profdata"
set --
for program in $programs; do
  set -- "$@" "$(find "$build" -type f -name "$program" -perm -u+x)"
done
status=0
set -- "$@" "$build/tests/selftest_no_exceptions" "$build/tests/selftest_portable"
python3 -B "$top/tests/coverage.py" "$build/all.profdata" "$@" 2> "$build/coverage.log" || status=1
took "accounts"
exit $status
