#!/usr/bin/env bash
# Run a command on the login node of a temporary SLURM cluster: two nodes on this machine, each with four fake GPUs.
#
#   tests/slurm/cluster.sh make something        tests/slurm/cluster.sh bash
#
# The cluster has its own namespaces (processes, mounts, network, host name), so it does not interfere with another SLURM
# or munge, opens no port of this machine, and ends with the command. Each node has its own processes and leases, like
# real machines. Needs root, and installs slurm-wlm and munge with apt.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  skip() { echo "no SLURM cluster here, its tests are skipped: $1"; exit 0; }
  [ "$(id -u)" = 0 ] || skip "only root can start one"
  missing=
  for program in ip munged slurmctld slurmd; do command -v "$program" >/dev/null || missing=$program; done
  if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || skip "no slurm-wlm and munge, and no apt to install them"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge iproute2; } \
      >/dev/null 2>&1 || skip "apt could not install slurm-wlm and munge"
  fi
  spaces=(--mount --net --uts --ipc --pid --fork --mount-proc --kill-child)
  unshare "${spaces[@]}" true 2>/dev/null || skip "this root may not make namespaces"
  folder=$(mktemp -d)
  trap 'kill -9 $inside 2>/dev/null || true; rm -rf "$folder"' EXIT
  trap 'exit 130' INT TERM HUP
  unshare "${spaces[@]}" "$0" --inside "$folder" "$@" <&0 &
  inside=$!
  wait $inside
  exit
fi

D=$2
shift 2
mkdir -p "$D"/{etc,state,log,leases,spool/n1,spool/n2} /etc/slurm /run/munge
hostname login
ip link set lo up
ip address add 10.77.0.1/32 dev lo   # slurmd ignores 127.0.0.1 when it looks up its addresses
echo "127.0.0.1 localhost login n1 n2" >"$D/hosts"
mount --bind "$D/hosts" /etc/hosts
mount --bind "$D/etc" /etc/slurm   # instead of SLURM_CONF, because Snakemake's jobstep plugin hides SLURM_* from the step
mount -t tmpfs -o mode=0755 none /run/munge
chown munge: /run/munge

for i in {0..7}; do mknod "$D/gpu$i" c 1 3; done   # SLURM does not accept plain files as devices
cat >"$D/etc/gres.conf" <<CONF
NodeName=n1 Name=gpu File=$D/gpu[0-3]
NodeName=n2 Name=gpu File=$D/gpu[4-7]
CONF
cat >"$D/etc/slurm.conf" <<CONF
ClusterName=throwaway
SlurmctldHost=login(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=600
KillWait=2
ReturnToService=1
# config_overrides: nodes have the resources given here, regardless of the machine.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname=login NodeAddr=127.0.0.1 Port=17001 CPUs=32 RealMemory=256000 Gres=gpu:4
NodeName=n2 NodeHostname=login NodeAddr=127.0.0.1 Port=17002 CPUs=32 RealMemory=256000 Gres=gpu:4
PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP
PartitionName=other Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF

export ZSBENCH_LEASES=$D/leases
runuser -u munge -- munged
slurmctld -c
for node in n1 n2; do
  unshare --pid --fork --mount-proc --uts bash -c "hostname $node; mount -t tmpfs none $ZSBENCH_LEASES; exec slurmd -D -N $node" 2>/dev/null &
done
for _ in {1..600}; do
  [ "$(sinfo --noheader --partition=gpu --states=idle --format=%D 2>/dev/null)" = 2 ] && break
  sleep 0.1
done
sinfo --noheader --partition=gpu --states=idle --format=%D | grep -qx 2 ||
  { tail -n 20 "$D"/log/*; echo "no SLURM cluster here, its tests are skipped: its nodes did not come up in a minute"; exit 0; }

export ZSBENCH_TEST_CLUSTER=1
"$@"
