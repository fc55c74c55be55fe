#!/usr/bin/env bash
# A Slurm of one node on this machine, for the tests beside this file; needs root, on Debian installs what it lacks.
#   tests/slurm/setup.sh start    starts it, in place of one that was started before, and prints its SLURM_CONF
#   tests/slurm/setup.sh stop     ends it
#   tests/slurm/setup.sh run COMMAND...  starts it, runs the command with its SLURM_CONF, and ends it again
# Everything of it lies in the folder that LANTERN_SLURM names, by default /run/lantern-slurm. It has a munge, ports and a
# configuration of its own and leaves those of the machine alone.
set -euo pipefail

place=${LANTERN_SLURM:-/run/lantern-slurm}
export SLURM_CONF=$place/slurm.conf

fail() {
  # Descriptor 3 is standard error where that has been put elsewhere.
  { : >&3; } 2>/dev/null && exec 2>&3
  printf 'slurm: %s\n' "$1" >&2
  for log in "$place"/*.log; do
    [ -e "$log" ] && { printf -- '-- %s\n' "$log" && tail -n 20 "$log"; } >&2
  done
  exit 1
}

is() { # is PID NAME: whether the process PID is a NAME that this script started
  [ -r "/proc/$1/comm" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]
}

stop() {
  local name pid
  for name in slurmd slurmctld munged; do
    pid=$(cat "$place/$name.pid" 2>/dev/null || true)
    [ -n "$pid" ] && is "$pid" "$name" && kill "$pid" 2>/dev/null
    for _ in $(seq 50); do
      [ -n "$pid" ] && is "$pid" "$name" || break
      sleep 0.1
    done
    [ -n "$pid" ] && is "$pid" "$name" && kill -9 "$pid" 2>/dev/null
    rm -f "$place/$name.pid"
  done
  return 0
}

install_slurm() {
  local name missing=()
  for name in munged:munge slurmctld:slurmctld slurmd:slurmd srun:slurm-client; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${name%%:*}" >/dev/null || missing+=("${name##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "not installed: ${missing[*]}"
  # Nothing is started by the installation: the daemons below are.
  printf '#!/bin/sh\nexit 101\n' >"$place/policy-rc.d"
  local policy=/usr/sbin/policy-rc.d put=
  [ -e $policy ] || { install -m 755 "$place/policy-rc.d" $policy && put=yes; }
  timeout 120 apt-get update -qq
  DEBIAN_FRONTEND=noninteractive timeout 400 apt-get install -y -qq --no-install-recommends -o Acquire::Retries=3 "${missing[@]}" >/dev/null
  [ -z "$put" ] || rm -f $policy
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

configure() {
  local node
  node=$(hostname -s)
  mkdir -p "$place/state" "$place/spool"
  head -c 1024 /dev/urandom >"$place/munge.key"
  chmod 400 "$place/munge.key"
  # CPUs that are not there: what the tests run needs hardly any.
  cat >"$SLURM_CONF" <<CONF
ClusterName=lantern
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$place/munge.socket,cred_expire=10
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=600
SchedulerParameters=sched_interval=5,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
NodeName=$node NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=low Nodes=$node Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=high Nodes=$node PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
CONF
}

launch() {
  export PATH=$PATH:/usr/sbin:/sbin
  # Nothing of theirs goes where this script writes: whoever waits for that to be closed would wait for ever.
  exec 3>&2 </dev/null >>"$place/start.log" 2>&1
  timeout 30 munged --key-file="$place/munge.key" --socket="$place/munge.socket" --pid-file="$place/munged.pid" \
    --log-file="$place/munged.log" --seed-file="$place/munge.seed" || fail "munged does not start"
  timeout 60 slurmctld -c || fail "slurmctld does not start"
  timeout 60 slurmd -c || fail "slurmd does not start"
  for _ in $(seq 120); do
    [ "$(timeout 5 sinfo --noheader --format=%T --partition=low 2>/dev/null)" = idle ] && return
    sleep 0.5
  done
  fail "the node does not come up"
}

start() {
  [ "$(id -u)" = 0 ] || fail "only root can start it"
  mkdir -p "$place"
  chmod 755 "$place"
  install_slurm >&2
  stop
  rm -rf "$place"/*.log "$place/state" "$place/spool" "$place"/munge.*
  configure
  (launch) || exit 1
  printf '%s\n' "$SLURM_CONF"
}

run() {
  trap stop EXIT
  start >&2
  "$@"
}

case ${1:-} in
start | stop) "$1" ;;
run) run "${@:2}" ;;
*) fail "say start, stop or run COMMAND" ;;
esac
