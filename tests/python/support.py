"""Shards of clips whose frames show their number, and what they must give."""

import glob
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SHARDREEL, WORK = sys.argv[1], sys.argv[2]
SHARDS = os.path.join(WORK, "shards", "shard-{000000..000003}.tar")
SIDE = 128
# Small and quick; the whole picture, so that the frame number stays readable.
SMALL = {"num_frames": 8, "width": SIDE, "height": SIDE, "resize_mode": "stretch", "batch_size": 4,
         "memory_bytes": "256MiB", "min_fill": 10, "rank": 0, "world_size": 1}


def make_clips(count=16):
    os.makedirs(WORK, exist_ok=True)
    clips = os.path.join(WORK, "clips")
    tool = os.path.join(ROOT, "tools", "make_clips.py")
    subprocess.run([sys.executable, tool, clips, "--count", str(count)], check=True, stdout=subprocess.DEVNULL)
    return clips


def pack(clips, out, shard_samples):
    """Pack a folder of videos; return the pattern of its shards."""
    packed = subprocess.run([SHARDREEL, "pack", clips, "--out", out, "--shard-samples", str(shard_samples),
                             "--overwrite", "--json"], check=True, stdout=subprocess.PIPE)
    return os.path.join(out, "shard-{000000..%06d}.tar" % (len(json.loads(packed.stdout)["shards"]) - 1))


def make_shards():
    pack(make_clips(), os.path.join(WORK, "shards"), 4)


def make_mp4_shards():
    """Shards of those clips that are .mp4, as most sets have them; return their pattern."""
    clips, chosen = make_clips(), os.path.join(WORK, "mp4")
    os.makedirs(chosen, exist_ok=True)
    for video in glob.glob(os.path.join(clips, "**", "*.mp4"), recursive=True):
        for path in glob.glob(video[:-len("mp4")] + "*"):
            link = os.path.join(chosen, os.path.basename(path))
            if not os.path.exists(link):
                os.symlink(path, link)
    return pack(chosen, os.path.join(WORK, "mp4-shards"), 2)


def copy_shard(number, name, change):
    """Copy one of SHARDS' archives with other contents; return its path. `change` gets the name and the content
    of each member and returns its fields as (name, content)."""
    path = os.path.join(WORK, name)
    with tarfile.open(SHARDS.replace("{000000..000003}", f"{number:06}")) as archive, \
            tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as out:
        for member in archive:
            for copied, content in change(member.name, archive.extractfile(member).read()):
                header = tarfile.TarInfo(os.fsdecode(copied))
                header.size = len(content)
                out.addfile(header, io.BytesIO(content))
    return path


def import_webdataset():
    """Python webdataset 1.0.2, also from where tests/conformance finds it; raises SkipTest."""
    sys.path.append(os.path.join(ROOT, "tests", "conformance"))
    import reference
    package, reason = reference.import_webdataset()
    if package is None:
        raise unittest.SkipTest(f"SKIPPED: {reason}")
    return package


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def frame_number(frame, facts):
    """Read the twelve squares of tools/make_clips.py from a frame [SIDE, SIDE, 3] that was `width` x
    `height`."""
    y = int(4 * SIDE / facts["height"])
    return sum(1 << bit for bit in range(12)
               if int(frame[y, int((8 * bit + 4) * SIDE / facts["width"])].mean()) > 128)


def main():
    # Spawned workers read the module again, with these arguments.
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
