#!/bin/sh
# release.sh [URL]: what a release of the header needs. Fails unless the change log begins with the header's version.
# Prints the version, the SHA-256 of the header, and the lines that take it into a CMake project from URL, checked.
#   sh tests/release.sh --cmake URL    these lines only
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
only_cmake=no
[ "${1-}" != --cmake ] || { only_cmake=yes; shift; }
url=${1:-https://YOUR.MIRROR/memoria_fs.hpp}

number=$(sed -n 's/^#define MEMORIA_FS_VERSION \([0-9]*\).*/\1/p' "$top/memoria_fs.hpp")
version=$((number / 10000)).$((number / 100 % 100)).$((number % 100))
grep -q "MEMORIA_FS_VERSION != $number\$" "$top/memoria_fs.hpp" ||
  { echo "the header's check for two versions does not say $number"; exit 1; }
changes=$(sed -n 's/^## //p' "$top/CHANGELOG.md" | head -n 1)
[ "$changes" = "$version" ] || { echo "the header is $version, CHANGELOG.md begins with $changes"; exit 1; }
sum=$({ sha256sum "$top/memoria_fs.hpp" 2> /dev/null || shasum -a 256 "$top/memoria_fs.hpp"; } | cut -d ' ' -f 1)

[ $only_cmake = yes ] || { echo "version $version"; echo "SHA-256 $sum"; echo; }
cat << EOF
file(DOWNLOAD "$url" "\${CMAKE_BINARY_DIR}/memoria_fs/memoria_fs.hpp"
     EXPECTED_HASH SHA256=$sum)
include_directories("\${CMAKE_BINARY_DIR}/memoria_fs")
EOF
