#!/bin/sh
# Everything that takes long, in one command, within a budget of minutes; ends with a table of what was done.
#   sh tests/long.sh [MINUTES, default 60]
# One stage after the other, each on all processors:
#   matrix     every cell, the rare ones too
#   rigs       processes that write to the same files, crash states, power cuts, races, millions of inputs against the seed's
#              Python; ROUNDS (default: a third of the minutes) multiplies the work, SEED (default: today) varies the inputs
#   network    GlusterFS, NFS and sshfs, two mounts each
#   coverage   lines and branches that all tests together reach
#   mutants    the header broken on purpose, for a third of what is left
#   fuzz       each fuzz target for an equal share of the rest
# STAGES="rigs fuzz" runs only these. A stage that comes to its limit is cut short and says so. Logs: build/long.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
out=$top/build/long
mkdir -p "$out"

minutes=${1:-60}
STAGES=${STAGES:-matrix rigs network coverage mutants fuzz}
ROUNDS=${ROUNDS:-$(((minutes + 2) / 3))}
SEED=${SEED:-$(date +%Y%m%d)}
export ROUNDS SEED
: > "$out/summary"
end=$(($(date +%s) + minutes * 60))
left() { echo $((end - $(date +%s))); }
status=0

stage() {  # stage NAME SECONDS COMMAND...: its output goes to build/long/NAME.log
  name=$1 limit=$2
  shift 2
  case " $STAGES " in *" $name "*) ;; *) return 0 ;; esac
  echo "== $name, at most $limit s ($(left) s left)"
  begin=$(date +%s)
  if [ "$limit" -lt 10 ]; then
    verdict='skipped: no time left'
  else
    timeout -k 20 "$limit" "$@" > "$out/$name.log" 2>&1
    case $? in
      0) verdict=passed ;;
      77) verdict="skipped: $(tail -n 1 "$out/$name.log")" ;;
      124 | 137) verdict='cut short' ;;
      *) verdict=FAILED; status=1; tail -n 40 "$out/$name.log" ;;
    esac
  fi
  echo "$name: $verdict, $(($(date +%s) - begin)) s" | tee -a "$out/summary"
  "facts_$name" < "$out/$name.log" 2> /dev/null | sed 's/^/  /' >> "$out/summary"
}

facts_matrix() { sed -n '/^cell  /,$p'; }
# The last line that each test printed: its own account of what it did.
facts_rigs() {
  awk '/^[0-9]+: (Test command|Working Directory|Environment variables|Test timeout)/ { next }
    /^[0-9]+:  *[A-Z_]+=/ { next }
    /^[0-9]+: *[^ ]/ { test = $1 + 0; sub(/^[0-9]+: */, ""); last[test] = $0 }
    /Test +#[0-9]+:/ { sub(/^.*#/, ""); test = $0 + 0; sub(/^[0-9]+: /, ""); print; if (test in last) print "    " last[test] }'
}
facts_network() { tail -n 12; }
facts_coverage() { grep -E 'lines|branches' | tail -n 4; }
facts_mutants() { grep -E ' of +[0-9]+ killed|^seed'; }
facts_fuzz() { grep -E '^(target|stat::number_of_executed_units|stat::average_exec_per_sec)'; }

echo "MINUTES=$minutes ROUNDS=$ROUNDS SEED=$SEED STAGES=$STAGES"
stage matrix "$(left)" sh "$top/tests/matrix.sh" --all
stage rigs "$(left)" sh "$top/tests/run.sh" -L 'python|processes|confine' --verbose
stage network "$(left)" sh "$top/tests/network_fs.sh"
[ ! -e "$top/tests/coverage.sh" ] || stage coverage "$(left)" sh "$top/tests/coverage.sh"
install clang++=clang /usr/lib/python3/dist-packages/clang/cindex.py=python3-clang
stage mutants "$(($(left) / 3))" python3 -B "$top/tests/mutate.py" --count 0 --seconds "$(($(left) / 3 - 60))"
targets=5
stage fuzz "$(left)" sh "$top/tests/fuzz/run.sh" "$((($(left) - 60 * targets) / targets))"

echo
echo "On $(date -u +%Y-%m-%d), $(cpus) processors, MINUTES=$minutes ROUNDS=$ROUNDS SEED=$SEED:"
cat "$out/summary"
exit $status
