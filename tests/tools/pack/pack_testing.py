"""What the tests of `shardreel pack` share; read back with Python's tarfile and hashlib.

Run a test as: TEST.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]. SHARDREEL_FULL_TESTS=1 does all rounds.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile

SHARDREEL, WORK = sys.argv[1], sys.argv[2]
TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "tools", "make_clips.py")
MEDIA = os.environ.get("SHARDREEL_MEDIA_DIR", "")
FULL = os.environ.get("SHARDREEL_FULL_TESTS") == "1"
SEED = int(os.environ.get("SHARDREEL_TEST_SEED", random.randrange(1 << 32)))
CLIPS = os.path.join(WORK, "clips")
LAUNCHERS = ("SLURM_", "OMPI_", "PMI", "RANK", "WORLD_SIZE")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}


def run(*arguments, env=None, **more):
    done = subprocess.run([SHARDREEL, "pack", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=900, check=False, env=env or ENV, **more)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    return done


def pack(*arguments, status=0, **more):
    done = run(*arguments, "--json", **more)
    assert done.returncode == status, (arguments, done.returncode, done.err)
    return json.loads(done.out) if status == 0 else done


def fresh(name):
    path = os.path.join(WORK, "out", name)
    shutil.rmtree(path, ignore_errors=True)
    return path


def content(folder):
    """Every file of a folder by name, hidden ones too."""
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = hashlib.sha256(file.read()).hexdigest()
    return files


def members(folder):
    """Every member of every shard: name -> content, with its shard."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".tar"):
            with tarfile.open(os.path.join(folder, name)) as tar:
                for info in tar:
                    assert info.name not in found, info.name
                    found[info.name] = (name, tar.extractfile(info).read())
    return found


def keys_by_shard(folder):
    return {shard: {n.rsplit(".", 1)[0] for n, (s, _) in members(folder).items() if s == shard}
            for shard in {s for s, _ in members(folder).values()}}


def make_clips():
    print(f"seed: SHARDREEL_TEST_SEED={SEED}")
    os.makedirs(os.path.join(WORK, "out"), exist_ok=True)
    subprocess.run([sys.executable, TOOL, CLIPS, "--count", "24"], check=True, stdout=subprocess.DEVNULL)
