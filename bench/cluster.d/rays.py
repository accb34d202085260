"""A real Ray on one machine: its head set up, killed, started again, torn down; its Jobs API by plain HTTP.

Owns the processes. Knows nothing of pipe. Needs `ray[default]` in a virtual environment (1.4 GB, from PyPI).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PACKAGE = "ray[default]"


class Ray:
    def __init__(self, at, venv, port=18265, cpus=6):
        self.at, self.venv, self.port, self.cpus = Path(at), Path(venv), port, cpus
        self.address = f"http://127.0.0.1:{port}"

    def set_up(self):
        if not (self.venv / "bin" / "ray").exists():
            subprocess.run([sys.executable, "-m", "venv", self.venv], check=True)
            subprocess.run([self.venv / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)
        self.start()

    def own_environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_DOCKER_CPU_WARNING": "1", "RAY_raylet_start_wait_time_s": "180"}

    def start(self):
        """On a machine that is busy it may take several tries: the head gives up by itself when its own processes are late."""
        for left in (2, 1, 0):
            told = self.start_once()
            if told is None:
                return self.wait()
            if not left:
                raise RuntimeError(f"ray did not start:\n{told}")

    def start_once(self):
        # What an earlier one left holds its ports.
        self.kill_head()
        time.sleep(1)
        shutil.rmtree(self.at, ignore_errors=True)
        base = self.port - 2000
        words = [
            self.venv / "bin" / "ray", "start", "--head", "--node-ip-address=127.0.0.1", f"--port={base + 1}", f"--num-cpus={self.cpus}",
            "--num-gpus=2", '--resources={"pipe":8}', "--min-worker-port=22000", "--max-worker-port=22400",
            "--ray-client-server-port=20001", "--dashboard-agent-listen-port=25365", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.port}", f"--temp-dir={self.at}", "--disable-usage-stats", "--object-store-memory=100000000",
        ]  # fmt: skip
        started = subprocess.run(words, env=self.own_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/")
        return (started.stdout + started.stderr)[-2000:] if started.returncode else None

    def wait(self, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.get("/api/version")
                self.get("/api/jobs/")
                return
            except (OSError, ValueError):
                time.sleep(0.5)
        raise RuntimeError(f"no Ray at {self.address} within {seconds} s")

    def get(self, path, patience=10):
        with urllib.request.urlopen(self.address + path, timeout=patience) as answer:
            return json.loads(answer.read())

    def post(self, path, body, patience=30):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=patience) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def processes(self):
        """Of this Ray: those that have its folder on their command line, or in whose name it runs."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.at) in words and "ray" in words and int(entry.name) != os.getpid():
                found.append((int(entry.name), words))
        return found

    def kill_head(self):
        """Every process of the head at once, as when its machine goes down; the programs of jobs run on."""
        for pid, _ in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def recover(self):
        """A head that has nothing to do."""
        try:
            jobs = self.get("/api/jobs/")
        except (OSError, ValueError):
            self.kill_head()
            time.sleep(1)
            return self.start()
        for job in jobs:
            if job["status"] in ("PENDING", "RUNNING") and job["submission_id"]:
                self.post(f"/api/jobs/{job['submission_id']}/stop", {})

    def tear_down(self):
        self.kill_head()
        time.sleep(1)
        self.kill_head()
        shutil.rmtree(self.at, ignore_errors=True)
