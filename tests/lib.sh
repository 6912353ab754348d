# shellcheck shell=sh
# What run.sh, matrix.sh and long.sh share. Source it with $top set to the project's directory.

# install COMMAND-OR-FILE=PACKAGE...: installs the packages whose command or file is missing. False if it cannot be done.
apt_is_fresh=no
install() {
  missing=
  for pair; do
    case $pair in
      /*) [ -e "${pair%%=*}" ] || missing="$missing ${pair#*=}" ;;
      *) command -v "${pair%%=*}" > /dev/null 2>&1 || missing="$missing ${pair#*=}" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  if ! command -v apt-get > /dev/null 2>&1; then
    echo "missing here:$missing (Debian's names)" >&2
    return 1
  fi
  root=
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo > /dev/null 2>&1; then
      echo "missing, and neither root nor sudo to install it:$missing" >&2
      return 1
    fi
    root=sudo
  fi
  echo "installing$missing"
  [ $apt_is_fresh = yes ] || $root apt-get -q -q -o DPkg::Lock::Timeout=600 update || return 1
  apt_is_fresh=yes
  # shellcheck disable=SC2086 # the words are wanted
  $root env DEBIAN_FRONTEND=noninteractive apt-get -q -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends \
    $missing > /dev/null
}

# cpus: how much to do at once.
cpus() { nproc 2> /dev/null || sysctl -n hw.ncpu 2> /dev/null || echo 2; }
