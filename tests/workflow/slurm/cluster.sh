#!/usr/bin/env bash
# A Slurm of one node for tests: slurmctld, slurmd and munge of Debian; as root, without systemd, cgroups or slurmdbd.
#   cluster.sh start    install what is missing, start, wait until the node is idle; nothing to do if it runs
#   cluster.sh stop     cancel every job, stop what was started
#   cluster.sh status   the node in a line
# Exit code 3: it cannot be had on this machine, and why.
# The node pretends to have 64 CPUs, 64 GB and two GPUs, so that jobs of any size are started. The executor plugin
# drops SLURM_CONF, therefore /etc/slurm/slurm.conf becomes a link; a machine that has one of its own is refused.
set -euo pipefail
D=/tmp/lapwing-slurm # as in cluster.py
H=$(hostname -s)
export SLURM_CONF=$D/slurm.conf

cannot() { echo "slurm: $1" >&2; exit 3; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop_one() {
  if alive "$1"; then
    kill "$(cat "$1")" || true
    for _ in $(seq 50); do alive "$1" || break; sleep 0.1; done
    ! alive "$1" || kill -9 "$(cat "$1")" || true
  fi
  rm -f "$1"
}

stop() {
  if alive "$D/slurmctld.pid"; then timeout 10 scancel --user="$(id -un)" || true; sleep 1; fi
  for part in slurmd slurmctld munged; do stop_one "$D/$part.pid"; done
  for file in slurm.conf gres.conf; do
    [ "$(readlink "/etc/slurm/$file" || true)" != "$D/$file" ] || rm "/etc/slurm/$file"
  done
}

install_packages() {
  local packages="slurmctld slurmd slurm-client munge" command missing=
  for command in slurmctld slurmd sbatch munged; do command -v $command >/dev/null || missing=yes; done
  [ "$missing" ] || return 0
  command -v apt-get >/dev/null || cannot "its packages are those of Debian, and there is no apt-get"
  echo "slurm: installs $packages" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || { sleep 30; apt-get update -qq; } ||  # another test may install something just now
    cannot "the lists of packages cannot be fetched"
  apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $packages >/dev/null || cannot "$packages cannot be installed"
}

check_machine() {
  local file
  [ "$(id -u)" = 0 ] || cannot "only root can install and start it"
  for file in slurm.conf gres.conf; do
    [ ! -e "/etc/slurm/$file" ] || [ "$(readlink "/etc/slurm/$file" || true)" = "$D/$file" ] ||
      cannot "this machine has an /etc/slurm/$file of its own"
  done
  mkdir -p "$D"
  [ -O "$D" ] || cannot "$D belongs to somebody else"
}

configure() {
  mkdir -p /etc/slurm "$D"/{state,spool,log,munge}
  chmod 755 "$D"
  chmod 700 "$D/munge"
  # cred_expire is also how long a requeued job waits before it starts again: 120 s unless said otherwise
  cat >"$D/slurm.conf" <<C
ClusterName=lapwing
SlurmctldHost=$H(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/munge/sock,cred_expire=5
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SrunPortRange=16900-16999
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
MinJobAge=86400
KillWait=5
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$H NodeAddr=127.0.0.1 CPUs=64 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=$H Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$H MaxTime=INFINITE State=UP
C
  : >"$D/gres.conf"
  for i in 0 1; do # slurmd counts device files; a real node names /dev/nvidia0
    : >"$D/gpu$i"
    echo "NodeName=$H Name=gpu File=$D/gpu$i" >>"$D/gres.conf"
  done
  ln -sfn "$D/slurm.conf" /etc/slurm/slurm.conf
  ln -sfn "$D/gres.conf" /etc/slurm/gres.conf
}

start_munge() {
  alive "$D/munged.pid" && return
  [ -s "$D/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$D/munge/key")
  munged --key-file="$D/munge/key" --socket="$D/munge/sock" --pid-file="$D/munged.pid" \
    --log-file="$D/munge/log" --seed-file="$D/munge/seed" --force 9>&-
}

wait_for_node() {
  for _ in $(seq 150); do
    case "$(timeout 5 sinfo -h -N -o %t 2>/dev/null | head -1 || true)" in
      idle | mix | alloc) return ;;
      down* | drain*) scontrol update nodename="$H" state=resume 2>/dev/null || true ;;
    esac
    sleep 0.2
  done
  tail -n 5 "$D"/log/*.log >&2
  echo "slurm: the node did not come up; see $D/log" >&2
  exit 1
}

start() {
  check_machine
  exec 9>"$D/starting" && flock 9 # by one process at a time
  install_packages
  configure
  start_munge
  alive "$D/slurmctld.pid" || slurmctld -f "$D/slurm.conf" 9>&-
  alive "$D/slurmd.pid" || slurmd -f "$D/slurm.conf" -N "$H" 9>&-
  wait_for_node
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  status) timeout 10 sinfo -h -N -o '%N %T, %c CPUs, %m MB, %G' ;;
  *) echo "usage: $0 start|stop|status" >&2; exit 2 ;;
esac
