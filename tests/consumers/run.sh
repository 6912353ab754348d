#!/bin/sh
# run.sh WAY: proves that a project can take the header in this way: plain, split, private, shared, vendor, precompiled,
# add_subdirectory, fetch_content, find_package, pkg_config, download or meson. Builds the small project of that name in
# a new directory and runs it.
set -eu
way=$1
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cmake=${CMAKE:-cmake}
cxx=${CXX:-c++}
export CXX="$cxx"
dir=${BUILD:-/tmp}/consumer_$way
rm -rf "$dir"
mkdir -p "$dir"
cd "$dir"

build_with_cmake() {  # build_with_cmake SETTINGS...
  "$cmake" -S "$here/$way" -B build "$@" && "$cmake" --build build && ./build/consumer
}

install_memoria_fs() {
  "$cmake" -S "$top" -B package -DCMAKE_INSTALL_PREFIX="$dir/prefix" \
    -DMEMORIA_FS_BUILD_TESTS=OFF -DMEMORIA_FS_BUILD_EXAMPLES=OFF
  "$cmake" --install package
}

case $way in
  plain)
    cp "$top/memoria_fs.hpp" .
    "$cxx" -std=c++17 -I. "$here/use.cpp" -o consumer
    ./consumer ;;
  add_subdirectory)
    build_with_cmake -DMEMORIA_FS="$top" -DCMAKE_INSTALL_PREFIX="$dir/prefix"
    "$cmake" --install build
    installed=$(find prefix -type f)
    [ "$installed" = prefix/bin/consumer ] || { echo "installed besides the consumer: $installed"; exit 1; } ;;
  fetch_content)
    build_with_cmake -DMEMORIA_FS="$top" ;;
  find_package)
    install_memoria_fs
    number=$(sed -n 's/^#define MEMORIA_FS_VERSION \([0-9]*\).*/\1/p' "$top/memoria_fs.hpp")
    version=$((number / 10000)).$((number / 100 % 100)).$((number % 100))
    build_with_cmake -DCMAKE_PREFIX_PATH="$dir/prefix" -DWANTED="$version"
    ! "$cmake" -S "$here/$way" -B newer -DCMAKE_PREFIX_PATH="$dir/prefix" -DWANTED=99.0 > newer.log 2>&1 ||
      { echo "a version that does not exist was found"; exit 1; } ;;
  pkg_config)
    command -v pkg-config > /dev/null || { echo "skipped: there is no pkg-config"; exit 77; }
    install_memoria_fs
    PKG_CONFIG_PATH=$(dirname "$(find "$dir/prefix" -name memoria_fs.pc)")
    export PKG_CONFIG_PATH
    # shellcheck disable=SC2046 # the words are wanted
    "$cxx" -std=c++17 $(pkg-config --cflags --libs memoria_fs) "$here/use.cpp" -o consumer
    ./consumer ;;
  split)
    for unit in user implementation main; do
      "$cxx" -std=c++17 -I"$top" -c "$here/split/$unit.cpp" -o "$unit.o"
    done
    "$cxx" ./*.o -o consumer
    ./consumer ;;
  private)
    for name in first second; do
      "$cxx" -std=c++17 -I"$top" -DLIBRARY="$name" -c "$here/private/library.cpp" -o "$name.o"
      symbols=$(nm -C --defined-only "$name.o" | grep -c 'memoria::' || true)
      [ "$symbols" = 0 ] || { echo "$name has $symbols symbols in the namespace memoria"; exit 1; }
    done
    "$cxx" -std=c++17 -I"$top" "$here/private/main.cpp" ./*.o -o consumer
    ./consumer ;;
  shared)  # a shared library and its program, each with the header, with visible and with hidden symbols
    case $("$cxx" -dumpmachine) in *linux*) ;; *) echo "skipped: needs ELF"; exit 77 ;; esac
    for visibility in default hidden; do
      for name in memoria own; do
        namespace=-DMEMORIA_FS_NAMESPACE=$name same=
        [ $name = own ] || namespace='' same=-DSAME_NAME
        # shellcheck disable=SC2086 # no word where there is none
        "$cxx" -std=c++17 -fvisibility=$visibility $namespace -I"$top" -fPIC -shared "$here/shared/library.cpp" \
          -o liblibrary.so
        # shellcheck disable=SC2086
        "$cxx" -std=c++17 -fvisibility=$visibility $same -I"$top" "$here/shared/main.cpp" -L. -llibrary \
          -Wl,-rpath,"$dir" -o consumer
        rm -f state.json
        ./consumer
      done
    done ;;
  vendor)  # among other people's headers, which may not warn even where ours do
    mkdir -p vendor/memoria
    cp "$top/memoria_fs.hpp" vendor/memoria/
    sed 's|<memoria_fs.hpp>|<memoria/memoria_fs.hpp>|' "$here/use.cpp" > use.cpp
    "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror -isystem vendor use.cpp -o consumer
    ./consumer ;;
  precompiled)  # the unit includes it once more
    build_with_cmake -DMEMORIA_FS="$top" ;;
  download)
    sh "$top/tests/release.sh" --cmake "file://$top/memoria_fs.hpp" > snippet.cmake
    build_with_cmake -DSNIPPET="$dir/snippet.cmake"
    { cat "$top/memoria_fs.hpp"; echo; } > altered.hpp
    sed "s|file://[^\"]*|file://$dir/altered.hpp|" snippet.cmake > wrong.cmake
    ! "$cmake" -S "$here/$way" -B wrong -DSNIPPET="$dir/wrong.cmake" > wrong.log 2>&1 ||
      { echo "an altered header was taken"; exit 1; }
    grep -q 'HASH mismatch' wrong.log ;;
  meson)
    command -v meson > /dev/null || { echo "skipped: there is no meson"; exit 77; }
    cp -R "$here/meson" project
    cp "$here/use.cpp" project/
    mkdir memoria_fs
    cp "$top/memoria_fs.hpp" memoria_fs/
    tar -czf memoria_fs.tar.gz memoria_fs
    hash=$(sha256sum memoria_fs.tar.gz | cut -d ' ' -f 1)
    sed "s|@url@|file://$dir/memoria_fs.tar.gz|; s|@hash@|$hash|" project/subprojects/memoria_fs.wrap.in \
      > project/subprojects/memoria_fs.wrap
    meson setup build project && ninja -C build && ./build/consumer ;;
  *) echo "no such way: $way"; exit 2 ;;
esac
