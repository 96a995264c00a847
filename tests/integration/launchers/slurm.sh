#!/bin/bash
# A real SLURM on this machine alone, as root: `slurm.sh start FOLDER`, `slurm.sh stop FOLDER`.
# Needs Debian's slurm-wlm and munge. Writes nothing outside FOLDER; clients take SLURM_CONF=FOLDER/slurm.conf.
set -eu
action=$1 folder=$2

case $action in
start)
    mkdir -p "$folder/state" "$folder/spool"
    (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
    chmod 0755 "$folder"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    cat > "$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$folder/slurm.conf
    slurmctld -c
    slurmd -c
    for _ in $(seq 60); do
        sinfo -h -o %t 2> /dev/null | grep -q idle && exit 0
        sleep 1
    done
    echo "SLURM did not start; see the logs in $folder" >&2
    exit 1
    ;;
stop)
    for daemon in slurmd slurmctld munged; do
        [ -e "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" || true
    done
    ;;
esac
