#!/bin/sh
# What holds over network file systems, found by running: GlusterFS, NFS and sshfs, two mounts as two hosts, all on loopback.
#   sh tests/network_fs.sh [SYSTEM..., for example NFS]
# Installs what it uses (as root, on Debian), builds one program, takes about ten minutes. See network/network_fs.py.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/lib.sh"
[ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || { echo "skipped: needs root on Linux"; exit 77; }

# The packages bring daemons, which nobody asked to be started on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 130' INT TERM
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod +x $policy
fi
install c++=g++ python3=python3 || exit 2
install ip=iproute2 unshare=util-linux glusterd=glusterfs-server glusterfs=glusterfs-client || echo "without GlusterFS"
install sshd=openssh-server ssh=openssh-client sshfs=sshfs || echo "without sshfs"
install linux.uml=user-mode-linux rpc.nfsd=nfs-kernel-server mount.nfs=nfs-common rpcbind=rpcbind modprobe=kmod \
  busybox=busybox mkfs.ext4=e2fsprogs || echo "without NFS"

build=${MEMORIA_FS_BUILD:-$top/build/network}
mkdir -p "$build"
"${CXX:-c++}" -std=c++17 -O1 -pthread -I"$top" "$top/tests/neighbours/neighbour.cpp" -o "$build/neighbour"
BUILD=$build ROUNDS=${NETWORK_ROUNDS:-0.2} python3 -B "$top/tests/network/network_fs.py" "$@"
