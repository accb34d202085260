"""The clusters as a study sees them: a profile, an environment, and where they are set up.

Owns what differs between Slurm, Ray and two machines that share a mount for a study. How they are broken is `breaking`'s.
"""

import contextlib
import http.server
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request

import machines
import rays
import slurm

COMMON = "ask_seconds = 1.0\nsettle_seconds = 5.0\ngrace_seconds = 5.0\nclaim_seconds = 6.0\n"


class Site:
    """What is the same where nothing else is said."""

    # Of a long node of the toys.
    ticks = 160

    def environment(self):
        return dict(os.environ)

    def place(self, folder):
        """Where the store of a study is that all machines see."""
        return folder / "store"

    def enter(self, _machine):
        return []

    def shake(self, rng):
        """Something of the cluster itself dies and comes back; its name."""
        raise NotImplementedError

    @contextlib.contextmanager
    def counted(self, _folder, _environment):
        """How often it is asked for what, as a call that tells so far."""
        yield dict


class OfSlurm(slurm.Slurm, Site):
    def __init__(self, folder, options):
        super().__init__(folder / "slurm", cpus=options.cpus)

    def profile(self):
        return f'executor = "slurm"\n{COMMON}\n[[partition]]\nname = "main"\ncpus = 1\n'

    def shake(self, rng):
        name = rng.choice(["slurmctld", *slurm.NODES])
        if name in self.daemons:
            self.kill(name)
            time.sleep(rng.uniform(1, 5))
            self.again(name)
        return "slurmctld" if name == "slurmctld" else "slurmd"

    @contextlib.contextmanager
    def counted(self, folder, environment):
        names = ["sbatch", "squeue", "scancel", "sinfo"]
        folder.mkdir(exist_ok=True)
        for name in names:
            fake = folder / name
            fake.write_text(f'#!/bin/sh\necho x >> {folder}/{name}.count\nexec {shutil.which(name)} "$@"\n')
            fake.chmod(0o755)
            (folder / f"{name}.count").write_text("")
        environment["PATH"] = f"{folder}:{os.environ['PATH']}"
        yield lambda: {name: (folder / f"{name}.count").read_text().count("x") for name in names}


class OfRay(rays.Ray, Site):
    def __init__(self, folder, options):
        super().__init__(folder / "r", options.ray_venv, cpus=options.cpus)
        self.asked = self.address

    def profile(self):
        return f'executor = "ray"\naddress = "{self.asked}"\n{COMMON}\n[[partition]]\nname = "pipe"\ncpus = 1\n'

    def shake(self, rng):
        self.kill_head()
        time.sleep(rng.uniform(1, 5))
        self.start()
        return "head"

    @contextlib.contextmanager
    def counted(self, _folder, _environment):
        counts, there = {}, self.address

        class Passing(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                name = f"{self.command} {'/'.join(self.path.split('/')[:3])}"
                counts[name] = counts.get(name, 0) + 1
                request = urllib.request.Request(there + self.path, body, {"Content-Type": "application/json"}, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        status, body = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, body = error.code, error.read()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Passing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.asked = f"http://127.0.0.1:{server.server_port}"
        try:
            yield lambda: dict(counts)
        finally:
            self.asked = there
            server.shutdown()


class OfMachines(machines.Machines, Site):
    # A checkpoint takes a while where the file system is a server and two mounts of a busy machine.
    ticks = 40

    def __init__(self, folder, options):
        super().__init__(folder / "machines", options.server, options.weed_venv)

    def profile(self):
        at = self.queue
        submit = f"mkdir {at}/{{name}} && echo {{script}} >{at}/{{name}}/new && mv {at}/{{name}}/new {at}/{{name}}/script && echo {{name}}"
        look = f"for job in {{jobs}}; do test ! -e {at}/$job/state || echo $job $(cat {at}/$job/state); done"
        find = f"test ! -e {at}/{{name}}/script || echo {{name}}"
        lines = f"submit = '{submit}'\nlook = '{look}'\ncancel = 'touch {at}/{{job}}/cancel'\nfind = '{find}'\n"
        return f'executor = "command"\njobs = 4\n{COMMON}\n[[partition]]\nname = "both"\ncpus = 1\n\n[command]\n{lines}'

    def place(self, folder):
        place = self.shared / folder.name
        place.mkdir(exist_ok=True)
        return place / "store"

    def shake(self, rng):
        if rng.random() < 0.5:
            self.lose_second()
            time.sleep(rng.uniform(1, 5))
            self.start_second()
            return "machine"
        self.freeze(machines.SECOND)
        time.sleep(rng.uniform(1, 12))
        self.freeze(machines.SECOND, signal.SIGCONT)
        return "mount"


SITES = {"slurm": OfSlurm, "ray": OfRay, "mounts": OfMachines}
