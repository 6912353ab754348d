#!/bin/sh
# The long checks: the same tests as everyday, with more of everything. Takes about an hour on two processors.
#   sh tests/long.sh [ROUNDS, default 40]
# More rounds of the processes that write to the same files, millions of inputs against the seed's Python (with another
# seed of the random numbers than yesterday's), the matrix, the fuzzer for ROUNDS minutes, and network file systems.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
ROUNDS=${1:-40}
SEED=${SEED:-$(date +%Y%m%d)}
FUZZ_SECONDS=$((ROUNDS * 60))
export ROUNDS SEED FUZZ_SECONDS
echo "ROUNDS=$ROUNDS SEED=$SEED"
status=0
sh "$top/tests/run.sh" -L 'python|processes' --verbose || status=1
sh "$top/tests/matrix.sh" || status=1
sh "$top/tests/network_fs.sh" || [ $? -eq 77 ] || status=1
exit $status
