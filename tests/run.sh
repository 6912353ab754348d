#!/bin/sh
# Installs what the tests need, builds them and runs them all through ctest. From anywhere, on a bare Debian machine:
#   sh tests/run.sh [ctest arguments, for example -L unit or -R neighbours --verbose]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"

case $(uname -s) in
  Linux)
    install c++=g++ make=make cmake=cmake python3=python3 pkg-config=pkg-config \
      /usr/include/doctest/doctest.h=doctest-dev || exit 2
    install /usr/include/nlohmann/json.hpp=nlohmann-json3-dev /usr/include/toml++/toml.h=libtomlplusplus-dev \
      /usr/include/rapidjson/document.h=rapidjson-dev meson=meson ninja=ninja-build strace=strace \
      mkfs.ext4=e2fsprogs mkfs.xfs=xfsprogs mkfs.btrfs=btrfs-progs setfattr=attr setfacl=acl setcap=libcap2-bin \
      sfdp=graphviz linux.uml=user-mode-linux busybox=busybox-static cpio=cpio valgrind=valgrind ps=procps ||
      echo "some tests will be skipped" ;;
  Darwin) echo "macOS: needs 'xcode-select --install' and 'brew install cmake doctest python pkg-config'" ;;
  *) echo "Windows: needs a compiler, CMake, Python 3 and doctest"
    echo "(MSYS2: pacman -S mingw-w64-x86_64-{gcc,cmake,doctest})" ;;
esac

build=${MEMORIA_FS_BUILD:-$top/build/tests}
mkdir -p "$build"
cmake -S "$top" -B "$build" -DCMAKE_BUILD_TYPE= "-DCMAKE_CXX_FLAGS=${CXXFLAGS:--O1}" \
  -DMEMORIA_FS_BUILD_TESTS=ON > "$build/configure.log" 2>&1 ||
  { cat "$build/configure.log"; exit 2; }
cmake --build "$build" --parallel "$(cpus)"
cd "$build"
exec ctest --parallel "$(cpus)" --output-on-failure "$@"
