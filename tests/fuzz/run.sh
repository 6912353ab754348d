#!/bin/sh
# Every fuzz target, one after the other, with ASan and UBSan:
#   sh tests/fuzz/run.sh [SECONDS for each, default 10] [TARGET...]
#     text     wikilinks (also against a naive reading), JSON in both dialects, safe_article_path
#     json     parse, write, parse again; edits and pointers
#     confine  the walk of confined_dir against the kernel's openat2
#     state    recovery of a state file of any bytes
#     vault    notes of any bytes: graph, names, rename
# For a night: sh tests/fuzz/run.sh 7200. What libFuzzer finds on the way is kept in build/fuzz/corpus and is where the next run
# begins; a crash leaves its input as build/fuzz/crash-*, and `build/fuzz/TARGET FILE` repeats it.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/lib.sh"
install c++=g++ clang++=clang || { echo "skipped: no clang"; exit 77; }
install "$(clang++ -print-resource-dir)/lib/linux=libclang-rt-14-dev" || { echo "skipped: no libFuzzer"; exit 77; }
seconds=${1:-10}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- text json confine state vault
build=${BUILD:-$top/build}/fuzz
mkdir -p "$build"
cd "$build"
for target; do
  clang++ -std=c++17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I"$top" \
    "$top/tests/fuzz/$target.cpp" -o "$target"
  mkdir -p "corpus/$target"
  seeds=
  [ "$target" != json ] || [ ! -d "$top/tests/json/corpus" ] || seeds=$top/tests/json/corpus
  echo "target $target"
  # shellcheck disable=SC2086 # no seeds, no argument
  "./$target" -max_total_time="$seconds" -max_len=300 -timeout=20 -print_final_stats=1 "corpus/$target" $seeds > "$target.log" 2>&1 ||
    { tail -n 40 "$target.log"; exit 1; }
  grep -E 'number_of_executed_units|average_exec_per_sec' "$target.log"
done
