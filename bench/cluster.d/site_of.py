"""The clusters as a study sees them: a profile, an environment, and where they are set up.

Owns what differs between Slurm and Ray for a study. How they are broken is `breaking`'s.
"""

import os

import rays
import slurm

COMMON = "ask_seconds = 1.0\nsettle_seconds = 5.0\ngrace_seconds = 5.0\nclaim_seconds = 6.0\n"


class OfSlurm(slurm.Slurm):
    def __init__(self, folder, options):
        super().__init__(folder / "slurm", cpus=options.cpus)

    def profile(self):
        return f'executor = "slurm"\n{COMMON}\n[[partition]]\nname = "main"\ncpus = 1\n'


class OfRay(rays.Ray):
    def __init__(self, folder, options):
        super().__init__(folder / "r", options.ray_venv, cpus=options.cpus)

    def profile(self):
        return f'executor = "ray"\naddress = "{self.address}"\n{COMMON}\n[[partition]]\nname = "pipe"\ncpus = 1\n'

    def environment(self):
        return dict(os.environ)


SITES = {"slurm": OfSlurm, "ray": OfRay}
