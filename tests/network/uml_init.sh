#!/bin/sh
# The first process of a user-mode Linux whose root is the host's: an NFS server, and two clients in network and host names of
# their own, over pairs of virtual cables. network_fs.py starts it and names $work, $script, $options (of the mounts) on the
# kernel's command line, from where they get into the environment.
# shellcheck disable=SC2154
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec > "$work/init.log" 2>&1 < /dev/null
set -x
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/nfs
mkdir -p /run/rpc_pipefs /run/export /var/lib/nfs/v4recovery /var/lib/nfs/sm
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
for module in veth nfsd nfsv4 nfsv3; do modprobe $module; done
mount -t nfsd nfsd /proc/fs/nfsd
mount -t ext4 /dev/ubda /run/export
ip link set lo up
for host in 1 2; do
  ip netns add host$host
  ip link add cable$host type veth peer name eth0 netns host$host
  ip addr add 10.99.$host.1/24 dev cable$host
  ip link set cable$host up
  ip -n host$host link set lo up
  ip -n host$host addr add 10.99.$host.2/24 dev eth0
  ip -n host$host link set eth0 up
done
rpcbind -w
rpc.statd --no-notify  # on the server only
exportfs -o rw,no_root_squash,fsid=0,no_subtree_check,insecure '*:/run/export'
rpc.nfsd --grace-time 10 --lease-time 10 4
rpc.mountd
sleep 12
for host in 1 2; do
  mkdir -p /run/host$host
  case $options in *vers=3*) from=/run/export ;; *) from=/ ;; esac
  nsenter --net=/run/netns/host$host unshare --uts sh -c \
    "hostname host$host; mount -t nfs -o $options 10.99.$host.1:$from /run/host$host"
done
mount | grep nfs
python3 -B "$script" scenes "$work/result" /run/host1:/run/host2
umount -l /run/host1 /run/host2
sync
exec busybox poweroff -f
