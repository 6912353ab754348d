#!/bin/sh
# The tool built for Windows and run under Wine: a hook's detached flush, its compile, a summarizer that is stopped.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
for program in x86_64-w64-mingw32-g++-posix wine; do
  command -v $program > /dev/null || { echo "skipped: there is no $program"; exit 77; }
done
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
if [ -z "${WINEPREFIX-}" ]; then  # a prefix that was given has its own server, and other users
  export WINEPREFIX="$here/wine" WINEDEBUG=-all WINEARCH=win64
  trap 'wineserver -k > /dev/null 2>&1 || :; rm -rf "$here"' EXIT
fi
cd "$here"
x86_64-w64-mingw32-g++-posix -std=c++17 -O1 -static -I"$top" "$top"/examples/memoria/*.cpp -o memoria.exe
timeout 120 wineboot -i > /dev/null 2>&1
memoria() { timeout 120 wine memoria.exe "$@"; }

# The summarizer hands its standard input to another memory, where it can be looked at.
echo '{"role": "user", "content": "hello"}' > talk.jsonl
echo '{"session_id": "s1", "transcript_path": "talk.jsonl"}' |
  memoria hook session-end --dir mem --summarizer 'memoria.exe log other "-" && echo a "quoted" word' --compiler 'echo === a b.md ==='
for _ in $(seq 300); do [ -e 'mem/knowledge/a b.md' ] && break; sleep 0.2; done
grep -q 'a "quoted" word' mem/daily/*.md
grep -q '^\*\*User:\*\* hello' other/daily/*.md # standard input arrived
[ -e 'mem/knowledge/a b.md' ]
[ "$(ls mem/.memoria/contexts)" = "" ]

echo text > talk.md
status=0
memoria flush talk.md s2 --dir mem --summarizer 'ping -n 60 127.0.0.1' --timeout 1 --retry-wait 0 2> errors || status=$?
[ $status -eq 1 ] && [ -e talk.md ]
grep -q 'attempt 3 of 3: the summarizer gave no answer within 1 s' errors
memoria flush talk.md 'a "b" \' --dir mem --summarizer 'echo FLUSH_OK'
[ ! -e talk.md ]
memoria state mem/.memoria/state.json get /logs > /dev/null
memoria doctor mem
