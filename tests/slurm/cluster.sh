#!/usr/bin/env bash
# A private Slurm on this machine: munged, slurmctld and several slurmd, all on loopback.
#
#   cluster.sh up   DIR NODES CPUS PORT     # then: export SLURM_CONF=DIR/slurm.conf
#   cluster.sh down DIR
#
# DIR is made, belongs to this cluster alone, and must be short (munge's socket lies in it).
# Ports PORT ... PORT+NODES are used. Needs root, and Slurm's programs:
#   apt-get install -y --no-install-recommends slurm-wlm munge
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ $# -ge 2 ]] || usage
action=$1 dir=$2
host=$(hostname -s)

write_config() {
  local nodes=$1 cpus=$2 port=$3
  # linuxproc, task/none, no accounting: nothing here needs cgroups or systemd.
  # config_overrides: more CPUs than the machine has. cred_expire: a requeued job waits that long.
  # TmpFS per node: two slurmd would collide in /tmp when steps use PMIx.
  # Jobs of `urgent` preempt those of the others; those of `patient` may take a minute to leave.
  # A first job number of its own: MPI libraries name what they leave in /dev/shm after job and step.
  local first=$((1000000 + (RANDOM * 32768 + RANDOM) % 60000000))
  cat > "$dir/slurm.conf" <<CONF
FirstJobId=$first
ClusterName=private
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
TmpFS=$dir/tmp.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,sched_interval=2,batch_sched_delay=0
ReturnToService=2
JobRequeue=1
KillWait=5
InactiveLimit=0
NodeName=n[0-$((nodes - 1))] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=$cpus RealMemory=1000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1
PartitionName=patient Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=2
CONF
}

start_nodes() {
  local nodes=$1 i
  { cat /etc/hosts; for ((i = 0; i < nodes; i++)); do echo "127.0.0.1 n$i"; done; } > "$dir/hosts"
  for ((i = 0; i < nodes; i++)); do
    mkdir -p "$dir/spool.n$i" "$dir/tmp.n$i"
    # A host name of its own per node, so that programs see as many hosts as Slurm has nodes.
    # shellcheck disable=SC2016  # expanded by the inner shell
    unshare --uts --mount sh -c \
      'hostname "$0" && mount --bind "$1/hosts" /etc/hosts && exec slurmd -N "$0" -f "$1/slurm.conf"' \
      "n$i" "$dir"
  done
}

wait_for() { # wait_for TENTHS COMMAND...
  local tenths=$1 i; shift
  for ((i = 0; i < tenths; i++)); do "$@" && return 0; sleep 0.1; done
  return 1
}

controller_answers() { scontrol ping 2>/dev/null | grep -q 'is UP'; }
nodes_idle() { [[ $(sinfo -h -N -t idle -o %n 2>/dev/null | wc -l) -ge $1 ]]; }
queue_empty() { [[ -z $(squeue -h 2>/dev/null) ]]; }

up() {
  local nodes=$1 cpus=$2 port=$3 program
  for program in munged slurmctld slurmd sinfo unshare; do
    command -v "$program" > /dev/null || { echo "missing program: $program" >&2; exit 2; }
  done
  mkdir -p "$dir/state" "$dir/munge"
  chmod 755 "$dir"; chmod 700 "$dir/munge"
  (umask 077; head -c 128 /dev/urandom > "$dir/munge/key")
  munged --key-file="$dir/munge/key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
  write_config "$nodes" "$cpus" "$port"
  export SLURM_CONF=$dir/slurm.conf
  slurmctld -f "$SLURM_CONF"
  wait_for 100 controller_answers || true
  start_nodes "$nodes"
  wait_for 300 nodes_idle "$nodes" && return 0
  echo "Slurm did not come up in $dir" >&2
  tail -n 20 "$dir"/*.log >&2
  down
  exit 1
}

# Whether a process that this script started still runs: its command line names DIR. (A zombie's
# is empty; kill -0 would wait for whoever must reap it.)
ours() { grep -qsF "$dir" "/proc/$1/cmdline"; }
all_gone() { local pid; for pid in "$@"; do ! ours "$pid" || return 1; done; }

stop() {
  local file pid pids=()
  for file in "$@"; do
    [[ -s $file ]] || continue
    pid=$(< "$file")
    if ours "$pid" && kill "$pid" 2> /dev/null; then pids+=("$pid"); fi
  done
  wait_for 50 all_gone "${pids[@]}" && return 0
  for pid in "${pids[@]}"; do if ours "$pid"; then kill -9 "$pid" 2> /dev/null || true; fi; done
}

down() {
  export SLURM_CONF=$dir/slurm.conf
  if controller_alive; then # clients of a dead controller wait for 18 s
    scancel --user="$(id -un)" 2> /dev/null || true
    wait_for 80 queue_empty || true
  fi
  stop "$dir"/slurmctld.pid "$dir"/slurmd.*.pid
  stop "$dir"/munged.pid
}

controller_alive() {
  [[ -s $dir/slurmctld.pid ]] && ours "$(< "$dir/slurmctld.pid")"
}

case $action in
  up) [[ $# -eq 5 ]] || usage; up "$3" "$4" "$5" ;;
  down) down ;;
  *) usage ;;
esac
