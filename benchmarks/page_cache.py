#!/usr/bin/python3
"""Does streaming push other data out of the kernel's page cache? As root, on one Linux machine.

    benchmarks/page_cache.py SHARDS... [--copies 8] [--hot-mib 96] [--limit-mib 512] [--rounds 5]
                             [--folder DIR] [--out FILE]

In a memory control group of --limit-mib: reads a file of --hot-mib several times, as a training job
reads what it needs again and again, feeds copies of the shards (one window a video) with
`page_cache` keep and drop in turn, and counts which pages of the file and of the shards are in the
cache afterwards. Prints one JSON object; medians over the rounds.
"""
import argparse
import ctypes
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from supervise import tell  # noqa: E402

PROGRAM = os.path.join(HERE, "..", "build", "release", "bin", "shardreel")
LIBC = ctypes.CDLL(None, use_errno=True)


class Group:
    """A memory control group below our own, version 1 or 2."""

    def __init__(self, limit):
        with open("/proc/self/cgroup") as file:
            groups = dict(line.strip().split(":", 2)[1:] for line in file)
        if "memory" in groups:
            self.path, name = "/sys/fs/cgroup/memory" + groups["memory"], "memory.limit_in_bytes"
        else:
            self.path, name = "/sys/fs/cgroup" + groups[""], "memory.max"
        self.path += f"/shardreel-page-cache-{os.getpid()}"
        os.mkdir(self.path)
        with open(os.path.join(self.path, name), "w") as file:
            file.write(str(limit))

    def run(self, command):
        script = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return subprocess.run(["sh", "-c", script, self.path, *command], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def remove(self):
        os.rmdir(self.path)


def cached(path):
    """The share of a file's pages that is in the cache."""
    size = os.path.getsize(path)
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE,
                                             mmap.PROT_READ | mmap.PROT_WRITE) as memory:
        there = (ctypes.c_ubyte * pages)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if LIBC.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), there) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(one & 1 for one in there) / pages


def forget(paths):
    os.sync()
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(options, folder, shards, hot, policy):
    forget([*shards, hot])
    group = Group(options.limit_mib << 20)
    try:
        for _ in range(3):
            group.run(["cat", hot])
        began = time.monotonic()
        told = json.loads(group.run(
            [PROGRAM, "feed", *shards, "--json", "--windows-per-video", "1", "--memory-bytes",
             "192MiB", "--decode-threads", "2", "--page-cache", policy, "--no-pixel-digest"]))
        return {"hot_cached": cached(hot), "shards_cached": statistics.fmean(map(cached, shards)),
                "seconds": time.monotonic() - began, "clips": told["clips"]}
    finally:
        group.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--hot-mib", type=int, default=96)
    parser.add_argument("--limit-mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="for the copies; on a disk, not in memory")
    parser.add_argument("--out")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("making a control group needs root")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        shards = [shutil.copy(shard, os.path.join(folder, f"{copy}-{os.path.basename(shard)}"))
                  for copy in range(options.copies) for shard in options.shards]
        hot = os.path.join(folder, "hot")
        with open(hot, "wb") as file:
            file.write(os.urandom(options.hot_mib << 20))
        rounds = [{policy: measure(options, folder, shards, hot, policy)
                   for policy in ("keep", "drop")} for _ in range(options.rounds)]
        report = {"limit_mib": options.limit_mib, "hot_mib": options.hot_mib,
                  "shards_mib": sum(map(os.path.getsize, shards)) >> 20, "rounds": options.rounds}
    for policy in ("keep", "drop"):
        report[policy] = {name: round(statistics.median(turn[policy][name] for turn in rounds), 4)
                          for name in rounds[0][policy]}
    tell(report, options.out)


if __name__ == "__main__":
    main()
