"""Where the virtual environment of the real server is, and how a script gets into it. Standard library only."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
VENV = Path(os.environ.get("REAL_SERVER_VENV", TARGET / "real-server-venv")).resolve()
PYTHON = VENV / "bin" / "python"


def say(text):
    print(text, file=sys.stderr, flush=True)


def set_up():
    """The environment with `requirements.txt` in it: made once, brought up to date where the requirements changed."""
    requirements = HERE / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    mark = VENV / "requirements.sha256"
    if mark.exists() and mark.read_text() == wanted:
        return
    say(f"installing bench/real-server/requirements.txt into {VENV} (about 50 MB to download)")
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    install = [PYTHON, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r", requirements]
    subprocess.run(install, check=True, stdout=sys.stderr)
    mark.write_text(wanted)


def enter():
    """Starts the calling script again inside the environment, unless it runs there already."""
    if Path(sys.prefix).resolve() == VENV:
        return
    set_up()
    sys.stdout.flush()
    os.execv(PYTHON, [str(PYTHON), *sys.argv])
