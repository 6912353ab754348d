#!/bin/sh
# Measures memoria_fs against what else there is, in turns on this machine: a table and charts in build/bench/results.
#   sh tests/bench/run.sh [quick|full] [--readme]
# quick: under two minutes, to see that all is in order; full (the default): about ten. --readme also puts table and
# charts into README.md and tests/bench/charts. Installs the peers that Debian has; one that is missing or fails is a
# line in the table, and the rest goes on. The data lie in build/bench (or $BENCH_DIR): choose a disk, on tmpfs a sync
# costs nothing.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/lib.sh"
install c++=g++ python3=python3 pkg-config=pkg-config || exit 2
if [ "$(uname -s)" = Linux ]; then
  for peer in strace=strace grep=grep rg=ripgrep /usr/share/doc/libglib2.0-dev=libglib2.0-dev \
    /usr/share/doc/qtbase5-dev=qtbase5-dev go=golang-go node=nodejs npm=npm \
    /usr/share/gocode/src/github.com/google/renameio=golang-github-google-renameio-dev \
    /usr/include/pcre2.h=libpcre2-dev /usr/include/re2/re2.h=libre2-dev /usr/include/hs/hs.h=libhyperscan-dev \
    /usr/include/md4c.h=libmd4c-dev \
    /usr/include/nlohmann/json.hpp=nlohmann-json3-dev /usr/include/rapidjson/document.h=rapidjson-dev \
    /usr/include/boost/json.hpp=libboost-json1.81-dev /usr/include/simdjson.h=libsimdjson-dev; do
    install "$peer" || echo "not here: ${peer#*=}"
  done
fi
exec python3 -B "$top/tests/bench/run.py" "$@"
