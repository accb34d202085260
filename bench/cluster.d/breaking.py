"""What is done to a cluster while a study runs on it. Every case ends when the study has.

Owns the accidents. What must hold afterwards is `studies`'.
"""

import json
import os
import signal
import subprocess
import time

import machines
import studies


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
    study.after(rng.uniform(0.12, 0.5))
    kill(study.worker("s0"))
    study.finish()


def attendant_killed(study, _cluster, rng):
    study.start()
    study.after(rng.uniform(0.12, 0.5))
    kill(study.attendant("s0"))
    study.finish()


def machine_lost(study, _cluster, rng):
    """Whoever attends, and the worker, at the same time: nobody is left to tell."""
    study.start()
    study.after(rng.uniform(0.12, 0.5))
    worker, attendant = study.worker("s0"), study.attendant("s0")
    kill(attendant)
    kill(worker)
    study.finish()


def paused(study, _cluster, rng):
    """Whoever attends, and the worker, stand still for longer than their claim lasts, as on a machine that is suspended; then they go on."""
    study.start()
    study.after(rng.uniform(0.12, 0.38))
    both = [study.attendant("s0"), study.worker("s0")]
    for pid in both:
        kill(pid, signal.SIGSTOP)
    # The other try may end before these two come back.
    time.sleep(14)
    for pid in both:
        kill(pid, signal.SIGCONT)
    study.finish()


def engine_killed(study, _cluster, rng):
    """Its jobs go on; another engine, elsewhere, takes them up."""
    first = study.start()
    study.after(rng.uniform(0.062, 0.25))
    studies.end(first)
    study.further(0.19)
    study.start(machine=machines.SECOND)
    study.finish()


def two_engines(study, _cluster, _rng):
    engines = [study.start(), study.start(machine=machines.SECOND)]
    for engine in engines:
        study.finish(engine)


def packed(study, _cluster, rng):
    """Short nodes that share jobs, some of which die on the way: what ended has ended, the rest goes on."""
    study.short(60, jobs=4)
    engine = study.start()
    for _ in range(3):
        time.sleep(rng.uniform(1, 3))
        study.until(lambda: engine.poll() is not None or strike_short(study, rng), "short node at work")
    study.finish()
    study.must(study.classes()["evicted"] > 0, "no short node was struck")


def strike_short(study, rng):
    """Kills whoever attends to a short node that is at work; whether there was any."""
    signed = (study.store / "attempts").glob("*/worker.json")
    alive = [pid for path in signed if (pid := studies.alive(path)) and study.node_of(path.parent).startswith("p")]
    try:
        victim = studies.parent(rng.choice(alive))
    except (IndexError, OSError):
        return False
    if "attend" not in studies.words(victim):
        return False
    kill(victim)
    return True


def job_of(study, node):
    """What the scheduler calls the job of a node's newest attempt, by what its engine wrote down; of one that shares its job that stands
    in a folder of its own."""
    attempt = study.attempt(node)
    posted = json.loads((attempt / "job.json").read_text())
    if posted["id"] is None:
        posted = json.loads((attempt.parent / f"job-{posted['first']}" / "job.json").read_text())
    return posted["id"]


# Slurm.


def controller_killed(study, slurm, rng):
    """Soon after the submission, so that it comes back from an older state; and once more while nodes run. It may cancel what it has
    forgotten to have run, which ends the run as interrupted; the same command goes on."""
    engine = study.start()
    study.until(lambda: slurm.jobs(), "job")
    slurm.kill("slurmctld")
    time.sleep(rng.uniform(1, 4))
    slurm.again("slurmctld")
    study.after(0.25)
    slurm.kill("slurmctld")
    time.sleep(12)
    slurm.again("slurmctld")
    if engine.wait(200) == 130:
        study.start()
    study.finish()


def node_daemon_killed(study, slurm, _rng):
    """The daemon of a node alone: Slurm takes the node for lost, while the worker works on."""
    study.start()
    study.after(0.062)
    node = next((node for _, name, state, node in slurm.jobs() if state == "RUNNING" and node), None)
    slurm.kill(node)
    study.finish()


def drained(study, slurm, _rng):
    study.start()
    study.after(0.12)
    for node in ("n1", "n2"):
        slurm.command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=proof")
    study.finish()


def node_down(study, slurm, _rng):
    study.start()
    study.after(0.12)
    node = slurm.command("squeue", "-h", "-j", job_of(study, "s0"), "-o", "%N").strip()
    slurm.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=proof")
    time.sleep(8)
    slurm.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    study.finish()


def preempted(study, slurm, _rng):
    """Somebody more urgent takes all nodes for a while."""
    study.start()
    study.after(0.19)
    words = ["sbatch", "--parsable", "--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap", "sleep 6"]
    slurm.command(*words)
    study.finish()


def out_of_time(study, slurm, _rng):
    """A limit that one job does not keep: it is asked to save before, and the next goes on."""
    study.start()
    study.after(0.12)
    slurm.command("scontrol", "update", f"JobId={job_of(study, 's0')}", "TimeLimit=1")
    kill(study.attendant("s0"), signal.SIGUSR2)  # As slurmd does so long before the limit.
    study.finish()


def time_limit(study, slurm, _rng):
    """One that is waited for: a minute, of which the long nodes need more. Slurm asks them to save before."""
    study.lay(ticks=1700, hours=1 / 60)
    study.start()
    study.finish()
    classes = study.classes()
    study.must(classes["evicted"] >= 2, f"nobody ran out of time: {dict(classes)}")


def cancelled(study, slurm, _rng):
    """By somebody else: the run is told so, and the same command goes on."""
    engine = study.start()
    study.after(0.12)
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
    study.after(0.12)
    ray.kill_head()
    time.sleep(3)
    ray.start()
    study.finish()


def stopped(study, ray, _rng):
    """By somebody else: the run is told so, and the same command goes on."""
    engine = study.start()
    study.after(0.12)
    ray.post(f"/api/jobs/{job_of(study, 's0')}/stop", {})
    engine.wait(200)
    study.start()
    study.finish()


# Two machines, and what both mount.


def doctor(study, mounts, _rng):
    """What it finds out about the mounts, by their two names and from two machines."""
    status, said = study.say("doctor", mounts.at / "mount-0", mounts.at / "mount-1", "--json")
    told = json.loads(said)
    expect(study, mounts, told, status)
    study.start("--only", "w0")
    study.finish()
    status, said = study.say("doctor", "--on", "lab", "--store", study.store, "--json")
    told = json.loads(said[said.index("{") :])
    while told["one_machine"]:
        # The job came to this one.
        status, said = study.say("doctor", "--on", "lab", "--store", study.store, "--json")
        told = json.loads(said[said.index("{") :])
    expect(study, mounts, told, status)
    study.must(told["there"]["host"] == "second", f"the other side is {told['there']['host']}")
    study.start()
    study.finish()


def expect(study, mounts, told, status):
    """Nobody's locks exclude on either server; a link is one's where the server makes it, and two mounts' of SeaweedFS."""
    holds = {one["name"]: one["holds"] for one in told["findings"]}
    study.must(holds["flock"] is False and holds["record-lock"] is False, f"locks exclude: {holds}")
    study.must(holds["link"] is (mounts.kind == "sftp"), f"of links it says {holds['link']}")
    study.must(told["usable"] == (holds["link"] and holds["rename"]) and status == (0 if told["usable"] else 3), f"a store there: {told['usable']}, {holds}")
    may_not = " ".join(told["may_not"])
    study.must("flock" in may_not and "gc --apply" in may_not, f"it does not say what may not be done: {may_not}")
    study.must(told["locks"] == "link", f"for a profile it says {told['locks']}")


def local_engines(study, _mounts, _rng):
    """Two engines that run their nodes themselves, each on its machine."""
    study.start("--only", "w0")
    study.finish()
    engines = [study.start(on=()), study.start(on=(), machine=machines.SECOND)]
    for engine in engines:
        study.finish(engine)


def local_engine_killed(study, mounts, rng):
    """One of these two is gone with its machine; the other goes on from the checkpoints when the claims have lasted."""
    study.start("--only", "w0")
    study.finish()
    study.start(on=(), machine=machines.SECOND)
    study.after(rng.uniform(0.062, 0.25))
    study.start(on=())
    study.further(0.12)
    study.struck.update(["s0", "s1"] + [node for node in study.nodes if node[0] in "wj"])
    mounts.lose_second()
    mounts.start_second()
    study.finish()


def gc_refused(study, mounts, _rng):
    """While nodes run on the other machine nothing is removed here, on either side."""
    study.start()
    study.after(0.12)
    for machine in (machines.FIRST, machines.SECOND):
        status, said = study.say("gc", "--apply", "--cap", "none", "--store", study.store, machine=machine)
        study.must("Nothing was removed" in said, f"gc --apply on machine {machine} ended with {status}: {said[-300:]}")
    study.finish()


def second_lost(study, mounts, rng):
    """The second machine goes, with all that runs there."""
    study.start()
    study.after(rng.uniform(0.12, 0.38))
    mounts.lose_second()
    time.sleep(2)
    mounts.start_second()
    study.finish()


def mount_hangs(study, mounts, rng):
    """The mount of the second machine answers nobody for longer than claims last; what hung there goes on then, and finds its work taken."""
    study.lay(ticks=100)
    study.start()
    node = at_work_on_second(study, mounts)
    study.further(rng.uniform(0.06, 0.19), node)
    mounts.freeze(machines.SECOND)
    time.sleep(15)
    mounts.freeze(machines.SECOND, signal.SIGCONT)
    study.finish()
    study.must(study.classes()["evicted"] > 0, "nobody was given up")


def at_work_on_second(study, mounts):
    """A long node whose worker is there, and has begun."""
    found = []

    def there():
        for node in ("s0", "s1"):
            attempt = study.attempt(node)
            if attempt and json.loads((attempt / "worker.json").read_text())["host"] == mounts.host(machines.SECOND) and study.ticks(node) > 0:
                found.append(node)
        return found

    study.until(there, "long node on the second machine")
    return found[0]


def server_hangs(study, mounts, rng):
    """The server answers nobody for longer than claims last: the run says so while it lasts, and everything goes on then."""
    study.lay(ticks=100)
    engine = study.start()
    study.after(rng.uniform(0.12, 0.38))
    log = study.folder / "engine-0.txt"
    mounts.freeze_server()
    try:
        study.until(lambda: "the store has not answered for" in log.read_text(), "word of the store that hangs", 60)
        time.sleep(5)
    finally:
        mounts.freeze_server(signal.SIGCONT)
    study.until(lambda: "the store answers again" in log.read_text(), "word of the store that is back", 60)
    study.finish(engine)


def own_mount_hangs(study, mounts, rng):
    """Only the machine of the engine sees nothing for longer than claims last; whatever runs on the other goes on."""
    study.lay(ticks=100)
    study.start()
    study.after(rng.uniform(0.12, 0.38))
    log = study.folder / "engine-0.txt"
    mounts.freeze(machines.FIRST)
    try:
        study.until(lambda: "the store has not answered for" in log.read_text(), "word of the store that hangs", 60)
    finally:
        mounts.freeze(machines.FIRST, signal.SIGCONT)
    study.until(lambda: "the store answers again" in log.read_text(), "word of the store that is back", 60)
    study.finish()


def mount_stutters(study, mounts, rng):
    """The mount of the second machine hangs for a moment: nobody loses anything."""
    study.start()
    for _ in range(3):
        study.further(rng.uniform(0.031, 0.12))
        mounts.freeze(machines.SECOND)
        time.sleep(2)
        mounts.freeze(machines.SECOND, signal.SIGCONT)
    study.finish()


ANY = {
    "undisturbed": undisturbed,
    "worker_killed": worker_killed,
    "attendant_killed": attendant_killed,
    "machine_lost": machine_lost,
    "paused": paused,
    "engine_killed": engine_killed,
    "two_engines": two_engines,
    "packed": packed,
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
        "time_limit": time_limit,
        "cancelled": cancelled,
        "reply_lost": reply_lost,
    },
    "ray": {**ANY, "head_killed": head_killed, "stopped": stopped},
    "mounts": {
        **ANY,
        "doctor": doctor,
        "local_engines": local_engines,
        "local_engine_killed": local_engine_killed,
        "gc_refused": gc_refused,
        "second_lost": second_lost,
        "mount_stutters": mount_stutters,
        "mount_hangs": mount_hangs,
        "own_mount_hangs": own_mount_hangs,
        "server_hangs": server_hangs,
    },
}
