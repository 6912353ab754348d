#!/bin/sh
# Everything that takes long, in one command, within a budget of minutes; ends with a table of what was done.
#   sh tests/long.sh [MINUTES, default 90]
# One stage after the other, each on all processors, for at most its share of the time that is left; what one does not
# use the next have. Sixty minutes on two processors are enough for something in every stage:
#   matrix     every cell, the rare ones too
#   rigs       processes that write to the same files, crash states, power cuts, races, millions of inputs against the
#              seed's Python; ROUNDS (default: 1 for each 30 minutes) multiplies the work, SEED (default: today) varies
#              the inputs
#   network    GlusterFS, NFS and sshfs, two mounts each
#   coverage   lines and branches that all tests together reach
#   breaks     the header broken by hand, once for each guarantee
#   mutants    the header broken by machine
#   fuzz       each fuzz target for an equal share of the rest
# STAGES="rigs fuzz" runs only these. A stage that comes to its limit is cut short and says so and how far it came; what
# had failed by then is a failure. Logs: build/long, the table at the end: build/long/summary.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
out=$top/build/long
mkdir -p "$out"

minutes=${1:-90}
STAGES=${STAGES:-matrix rigs network coverage breaks mutants fuzz}
shares='matrix 28 rigs 20 network 16 coverage 9 breaks 12 mutants 8 fuzz 7'
ROUNDS=${ROUNDS:-$(((minutes + 29) / 30))}
SEED=${SEED:-$(date +%Y%m%d)}
export ROUNDS SEED
: > "$out/summary"
end=$(($(date +%s) + minutes * 60))
left() { echo $((end - $(date +%s))); }
status=0

# In the logs, as it happens.
failing=' FAILED$|\*\*\*(Failed|Timeout|Exception|Not Run)|NOT NOTICED|is there [0-9]+ times|^crash|does not hold:'

chosen() { case " $STAGES " in *" $1 "*) ;; *) return 1 ;; esac; }

limit_of() {  # limit_of NAME: the seconds that are left, times its share of the shares of the stages that are left
  (
    wanted=$1 share=0 of=0
    # shellcheck disable=SC2086 # the words are wanted
    set -- $shares
    while [ $# -gt 0 ]; do
      [ "$1" != "$wanted" ] || share=$2
      [ $share = 0 ] || ! chosen "$1" || of=$((of + $2))
      shift 2
    done
    echo $((share == 0 || of == 0 ? 0 : $(left) * share / of))
  )
}

stage() {  # stage NAME COMMAND...: its output goes to build/long/NAME.log
  name=$1 limit=$(limit_of "$1")
  shift
  chosen "$name" || return 0
  echo "== $name, at most $limit s ($(left) s left)"
  begin=$(date +%s)
  : > "$out/$name.log"
  if [ "$limit" -lt 60 ]; then
    verdict='skipped: no time left'
  else
    timeout -k 20 "$limit" "$@" > "$out/$name.log" 2>&1
    case $? in
      0) verdict=passed ;;
      77) verdict="skipped: $(tail -n 1 "$out/$name.log")" ;;
      124 | 137)
        verdict='cut short'
        ! grep -E "$failing" "$out/$name.log" || { verdict='cut short, and FAILED'; status=1; } ;;
      *) verdict=FAILED; status=1; tail -n 40 "$out/$name.log" ;;
    esac
  fi
  echo "$name: $verdict, $(($(date +%s) - begin)) s" | tee -a "$out/summary"
  "facts_$name" < "$out/$name.log" 2> /dev/null | sed 's/^/  /' >> "$out/summary"
}

# The table; without one, each cell that came to its end.
facts_matrix() {
  awk '/^cell  / { table = 1 } table { print } !table && / (ran|skipped|FAILED)$/ { ended = ended "\n" $0; n++ }
    END { if (!table) print n + 0 " cells came to their end" ended }'
}
# The last line that each test printed: its own account of what it did.
facts_rigs() {
  awk '/^[0-9]+: (Test command|Working Directory|Environment variables|Test timeout)/ { next }
    /^[0-9]+:  *[A-Z_]+=/ { next }
    /^[0-9]+: *[^ ]/ { test = $1 + 0; sub(/^[0-9]+: */, ""); last[test] = $0 }
    /Test +#[0-9]+:/ { sub(/^.*#/, ""); test = $0 + 0; sub(/^[0-9]+: /, ""); print
      if (test in last) print "    " last[test] }'
}
facts_network() { tail -n 12; }
facts_coverage() { tail -n 8; }
facts_breaks() { awk '/: noticed by/ { n++ } /NOT NOTICED|times$/ { print } END { print n + 0 " breaks noticed" }'; }
facts_mutants() { grep -E ' of +[0-9]+ killed|^seed'; }
facts_fuzz() { grep -E '^(target|stat::number_of_executed_units|stat::average_exec_per_sec)'; }

echo "MINUTES=$minutes ROUNDS=$ROUNDS SEED=$SEED STAGES=$STAGES"
stage matrix sh "$top/tests/matrix.sh" --all
stage rigs sh "$top/tests/run.sh" -L 'python|processes|confine' --verbose
stage network sh "$top/tests/network_fs.sh"
stage coverage sh "$top/tests/coverage.sh"
stage breaks python3 -B "$top/tests/crash/breaks.py"
install clang++=clang /usr/lib/python3/dist-packages/clang/cindex.py=python3-clang
stage mutants python3 -B "$top/tests/mutate.py" --count 0 --seconds "$(($(limit_of mutants) - 60))"
each=$((($(limit_of fuzz) - 150) / 5))  # five targets, each built for half a minute
stage fuzz sh "$top/tests/fuzz/run.sh" "$((each > 5 ? each : 5))"

echo
echo "On $(date -u +%Y-%m-%d), $(cpus) processors, MINUTES=$minutes ROUNDS=$ROUNDS SEED=$SEED:"
cat "$out/summary"
exit $status
