"""What is done to a cluster while a study runs on it. Every case ends when the study has.

Owns the accidents. What must hold afterwards is `studies`'.
"""

import os
import signal
import subprocess
import time
from pathlib import Path


def kill(pid, how=signal.SIGKILL):
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        pass


def undisturbed(study, _cluster, _rng):
    study.start()
    study.finish()


def worker_killed(study, _cluster, rng):
    study.start()
    study.after(rng.randrange(20, 80))
    kill(study.worker("s0"))
    study.finish()


def attendant_killed(study, _cluster, rng):
    study.start()
    study.after(rng.randrange(20, 80))
    kill(study.attendant("s0"))
    study.finish()


def machine_lost(study, _cluster, rng):
    """Whoever attends, and the worker, at the same time: nobody is left to tell."""
    study.start()
    study.after(rng.randrange(20, 80))
    worker, attendant = study.worker("s0"), study.attendant("s0")
    kill(attendant)
    kill(worker)
    study.finish()


def engine_killed(study, _cluster, rng):
    """Its jobs go on; another engine, elsewhere, takes them up."""
    first = study.start()
    study.after(rng.randrange(10, 40))
    kill(first.pid)
    first.wait()
    study.after(study.ticks() + 30)
    study.start()
    study.finish()


def two_engines(study, _cluster, _rng):
    engines = [study.start(), study.start()]
    for engine in engines:
        study.finish(engine)


def job_of(study, node):
    """What the scheduler calls the job of a node's newest attempt, by what its engine wrote down."""
    for path in sorted(study.attempt(node).rglob("job.json")):
        text = path.read_text()
        for word in ('"id":"', '"id": "'):
            if word in text:
                return text.split(word)[1].split('"')[0]
    raise AssertionError("an attempt with a worker has a job")


# Slurm.


def controller_killed(study, slurm, rng):
    """Soon after the submission, so that it comes back from an older state; and once more while nodes run. It may cancel what it has
    forgotten to have run, which ends the run as interrupted; the same command goes on."""
    engine = study.start()
    study.until(lambda: slurm.jobs(), "job")
    slurm.kill("slurmctld")
    time.sleep(rng.uniform(1, 4))
    slurm.again("slurmctld")
    study.after(40)
    slurm.kill("slurmctld")
    time.sleep(12)
    slurm.again("slurmctld")
    if engine.wait(200) == 130:
        study.start()
    study.finish()


def node_daemon_killed(study, slurm, _rng):
    """The daemon of a node alone: Slurm takes the node for lost, while the worker works on."""
    study.start()
    study.after(10)
    node = next((node for _, name, state, node in slurm.jobs() if state == "RUNNING" and node), None)
    slurm.kill(node)
    study.finish()


def drained(study, slurm, _rng):
    study.start()
    study.after(20)
    for node in ("n1", "n2"):
        slurm.command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=proof")
    study.finish()


def node_down(study, slurm, _rng):
    study.start()
    study.after(20)
    node = slurm.command("squeue", "-h", "-j", job_of(study, "s0"), "-o", "%N").strip()
    slurm.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=proof")
    time.sleep(8)
    slurm.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    study.finish()


def preempted(study, slurm, _rng):
    """Somebody more urgent takes all nodes for a while."""
    study.start()
    study.after(30)
    words = ["sbatch", "--parsable", "--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap", "sleep 6"]
    slurm.command(*words)
    study.finish()


def out_of_time(study, slurm, _rng):
    """A limit that one job does not keep: it is asked to save before, and the next goes on."""
    study.start()
    study.after(20)
    slurm.command("scontrol", "update", f"JobId={job_of(study, 's0')}", "TimeLimit=1")
    kill(study.attendant("s0"), signal.SIGUSR2)  # As slurmd does so long before the limit.
    study.finish()


def cancelled(study, slurm, _rng):
    """By somebody else: the run is told so, and the same command goes on."""
    engine = study.start()
    study.after(20)
    slurm.command("scancel", job_of(study, "s0"))
    engine.wait(200)
    study.start()
    study.finish()


def reply_lost(study, slurm, _rng):
    """sbatch does what was asked, and says that it could not: the first three times."""
    folder = study.folder / "bin"
    folder.mkdir()
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    count = study.folder / "submissions"
    fake = folder / "sbatch"
    fake.write_text(
        f'#!/bin/sh\necho x >> {count}\n{real} "$@" || exit\n[ $(wc -l < {count}) -gt 3 ] || {{ echo "sbatch: error: Socket timed out" >&2; exit 1; }}\n'
    )
    fake.chmod(0o755)
    # The id was printed before; who reads it in spite of the status would not be fooled.
    before = study.environment
    study.environment = lambda: {**before(), "PATH": f"{folder}:{os.environ['PATH']}"}
    study.start()
    study.finish()


def moments(study, slurm, rng):
    """Workers, attendants and daemons, at random moments."""
    study.start()
    for _ in range(4):
        time.sleep(rng.uniform(1, 4))
        node = rng.choice(["s0", "s1"])
        if study.attempt(node) is None or study.engines[-1].poll() is not None:
            continue
        try:
            kill(rng.choice([study.worker, study.attendant])(node))
        except (OSError, ValueError):
            continue
    study.finish()


# Ray.


def head_killed(study, ray, _rng):
    """The head forgets all jobs; their programs run to the end."""
    study.start()
    study.after(20)
    ray.kill_head()
    time.sleep(3)
    ray.start()
    study.finish()


def stopped(study, ray, _rng):
    """By somebody else: the run is told so, and the same command goes on."""
    engine = study.start()
    study.after(20)
    ray.post(f"/api/jobs/{job_of(study, 's0')}/stop", {})
    engine.wait(200)
    study.start()
    study.finish()


ANY = {
    "undisturbed": undisturbed,
    "worker_killed": worker_killed,
    "attendant_killed": attendant_killed,
    "machine_lost": machine_lost,
    "engine_killed": engine_killed,
    "two_engines": two_engines,
    "moments": moments,
}

CASES = {
    "slurm": {
        **ANY,
        "controller": controller_killed,
        "node_daemon": node_daemon_killed,
        "drained": drained,
        "node_down": node_down,
        "preempted": preempted,
        "out_of_time": out_of_time,
        "cancelled": cancelled,
        "reply_lost": reply_lost,
    },
    "ray": {**ANY, "head_killed": head_killed, "stopped": stopped},
}
