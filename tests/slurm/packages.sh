#!/usr/bin/env bash
# Sees to it that SLURM's programs are here, from Debian's packages and without starting a service, or says why not.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
programs=(munged slurmctld slurmd sbatch srun squeue scontrol scancel sinfo)
packages=(munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins)
starting=/usr/sbin/policy-rc.d

refuse() {
    echo "make slurm-test: no ${missing[*]} here, and $1" >&2
    exit 1
}

missing=()
for program in "${programs[@]}"; do
    command -v "$program" > /dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0
command -v apt-get > /dev/null || refuse "no apt-get either: install SLURM 22.05 or newer and munge by hand"
((EUID == 0)) || refuse "only root can install them: apt-get install --no-install-recommends ${packages[*]}"
if [ ! -e "$starting" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$starting"
    chmod +x "$starting"
    trap 'rm -f "$starting"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || refuse "apt-get update failed"
apt-get install -y -qq --no-install-recommends "${packages[@]}" || refuse "apt-get could not install ${packages[*]}"
