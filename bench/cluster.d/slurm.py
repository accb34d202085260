"""A real Slurm of three nodes on one machine: set up, its daemons killed and started again, torn down.

Owns the configuration and the processes. Knows nothing of pipe. Needs root, and the packages slurm-wlm, slurm-wlm-basic-plugins and munge.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

NODES = ["n1", "n2", "n3"]
PACKAGES = ["slurm-wlm", "slurm-wlm-basic-plugins", "munge"]

CONF = """
ClusterName=pipe
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={at}/ctld
SlurmdSpoolDir={at}/spool/%n
SlurmdPidFile={at}/slurmd.%n.pid
SlurmctldPidFile={at}/slurmctld.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
SlurmctldTimeout=20
MessageTimeout=8
MinJobAge={min_job_age}
KillWait=5
GresTypes=gpu
DefMemPerCPU=500
OverTimeLimit=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName=n[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs={cpus} RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes=n[1-3] Default=YES MaxTime=60 PriorityTier=1 GraceTime=5
PartitionName=urgent Nodes=n[1-3] MaxTime=60 PriorityTier=10 PreemptMode=OFF
"""


class Slurm:
    def __init__(self, at, port=17000, cpus=4, min_job_age=30):
        self.at, self.port, self.cpus, self.min_job_age = Path(at), port, cpus, min_job_age
        self.daemons = {}

    def set_up(self):
        missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]
        if missing:
            raise SystemExit(f"{', '.join(missing)}: not here; apt-get install --no-install-recommends {' '.join(PACKAGES)}")
        if os.getuid() != 0:
            raise SystemExit("slurmd and munged are started here, which takes root")
        shutil.rmtree(self.at, ignore_errors=True)
        for folder in ("ctld", *(f"spool/{node}" for node in NODES)):
            (self.at / folder).mkdir(parents=True)
        gpus = [self.at / f"gpu{i}" for i in range(2)]
        for gpu in gpus:
            gpu.touch()
        host = socket.gethostname().split(".")[0]
        conf = CONF.format(
            at=self.at, host=host, port=self.port, first=self.port + 1, last=self.port + 3, cpus=self.cpus, min_job_age=self.min_job_age
        )
        (self.at / "slurm.conf").write_text(conf.lstrip())
        (self.at / "gres.conf").write_text(f"NodeName=n[1-3] Name=gpu Count=2 File={self.at}/gpu[0-1]\n")
        munge()
        self.start("slurmctld")
        for node in NODES:
            self.start(node)
        self.wait_for(lambda: self.idle() == set(NODES), 60, "three idle nodes")

    def environment(self):
        return {**os.environ, "SLURM_CONF": str(self.at / "slurm.conf")}

    def start(self, name, fresh=True):
        """A daemon: `slurmctld`, or the slurmd of a node."""
        words = ["slurmctld", "-D"] + (["-c"] if fresh else []) if name == "slurmctld" else ["slurmd", "-D", "-N", name]
        log = (self.at / f"{name}.out").open("a")
        self.daemons[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), start_new_session=True)

    def kill(self, name, how=signal.SIGKILL):
        """A daemon alone: what it started runs on."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        daemon.wait()

    def again(self, name):
        """A daemon that comes back with what it had written down."""
        self.start(name, fresh=False)

    def command(self, *words, patience=30):
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=patience)
        return done.stdout

    def idle(self):
        rows = self.command("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").split("\n")
        return {row.split()[0] for row in rows if row.endswith(" idle")}

    def jobs(self):
        """(id, name, state, node) of what is not over."""
        rows = self.command("squeue", "-h", "-o", "%i|%j|%T|%N").splitlines()
        return [tuple(row.split("|")) for row in rows]

    def recover(self):
        """All daemons up, all nodes in service, no jobs."""
        for name in ("slurmctld", *NODES):
            if name not in self.daemons or self.daemons[name].poll() is not None:
                self.again(name)
        self.wait_for(lambda: "UP" in self.command("scontrol", "ping"), 60, "slurmctld")
        self.command("scancel", "-u", "root", "--quiet")

        def whole():
            if self.idle() == set(NODES) and not self.jobs():
                return True
            for node in set(NODES) - self.idle():
                self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
            self.command("scancel", "-u", "root", "--quiet")
            return False

        self.wait_for(whole, 180, "three idle nodes again")

    def wait_for(self, what, seconds, told):
        until = time.monotonic() + seconds
        while True:
            try:
                if what():
                    return
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() > until:
                raise SystemExit(f"no {told} within {seconds} s; see {self.at}")
            time.sleep(0.5)

    def tear_down(self):
        try:
            self.command("scancel", "-u", "root", "--quiet")
        except subprocess.TimeoutExpired:
            pass
        for name in list(self.daemons):
            self.kill(name, signal.SIGTERM)


def munge():
    """The daemon that vouches for users, where there is none."""
    alive = subprocess.run(["munge", "-n"], capture_output=True).returncode == 0
    if alive:
        return
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", "munged", "--force"], check=True, capture_output=True)
