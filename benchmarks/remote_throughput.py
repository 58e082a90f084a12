#!/usr/bin/env python3
"""See remote_throughput.sh.

    remote_throughput.py READER SHARDREEL
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "servers"))
import servers  # noqa: E402

BYTES, ROUNDS = 1 << 30, 5
RAW_ROUNDS = 15  # of half a second each
SHARDS = "shard-{000000..000007}.tar"
FEED = ["--num-frames", "16", "--batch-size", "8", "--width", "224", "--height", "224", "--open-shards", "8",
        "--memory-bytes", "1GiB", "--min-fill", "64", "--epochs", "2", "--json"]


def measured(command):
    """Seconds and CPU seconds of a command, its children's included."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def raw(reader, nginx):
    """One shard to its end: the loader's source and the curl program in turn."""
    rows = {}
    for scheme, base in (("http", nginx.url), ("https", nginx.tls_url)):
        url = base + "/data/shard.tar"
        both = {"shardreel": [reader, url, nginx.ca_file],
                "curl": ["curl", "-sf", "--http1.1", "--cacert", nginx.ca_file, "-o", "/dev/null", url]}
        times = {name: [] for name in both}
        for turn in range(RAW_ROUNDS):
            # Each first in every second round: the second finds more of the shard in the caches.
            for name in sorted(both, reverse=turn % 2 == 1):
                times[name].append(measured(both[name]))
        for name in both:
            rows[f"{scheme} {name}"] = {
                "gb_per_second": BYTES / statistics.median(t[0] for t in times[name]) / 1e9,
                "cpu_seconds_per_gib": statistics.median(t[1] for t in times[name]) * (1 << 30) / BYTES}
        ratios = [[c / s for c, s in zip(curl, own)] for curl, own in zip(times["curl"], times["shardreel"])]
        rows[f"{scheme} ratio"] = {"throughput": statistics.median(r[0] for r in ratios),
                                   "cpu": 1 / statistics.median(r[1] for r in ratios)}
    return rows


def fed(program, shards):
    report = json.loads(subprocess.run([program, "feed", shards, *FEED], check=True, capture_output=True).stdout)
    return report["clips"] / report["seconds"], report["pixel_digest"]


def feeding(program, root, nginx):
    """The same eight shards from local files, over http, and with 50 ms before each answer, in turn."""
    ways = {"local": os.path.join(root, SHARDS), "http": f"{nginx.url}/data/{SHARDS}",
            "http, 50 ms": f"{nginx.url}/slow/{SHARDS}"}
    rates, digests = {name: [] for name in ways}, set()
    for _ in range(ROUNDS):
        for name, shards in ways.items():
            rate, digest = fed(program, shards)
            rates[name].append(rate)
            digests.add(digest)
    assert len(digests) == 1, digests
    rows = {f"feed {name}": {"clips_per_second": statistics.median(rates[name])} for name in ways}
    for name in ("http", "http, 50 ms"):
        ratio = statistics.median(r / local for r, local in zip(rates[name], rates["local"]))
        rows[f"feed {name}"]["ratio_to_local"] = ratio
    return rows


def main():
    reader, program = (os.path.abspath(path) for path in sys.argv[1:3])
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        os.chmod(root, 0o755)  # nginx's worker may be another user
        make_clips = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "make_clips.py")
        subprocess.run([sys.executable, make_clips, os.path.join(root, "clips"), "--count", "192"], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([program, "pack", os.path.join(root, "clips"), "--out", os.path.join(root, "set"),
                        "--shard-samples", "24"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shards = os.path.join(root, "set")
        with open(os.path.join(shards, "shard.tar"), "wb") as file:
            for _ in range(BYTES >> 20):
                file.write(os.urandom(1 << 20))
        nginx = servers.Nginx(os.path.join(root, "nginx"), shards)
        try:
            rows = feeding(program, shards, nginx) | raw(reader, nginx)
        finally:
            nginx.stop()
    print(json.dumps({"machine": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
                      "bytes": BYTES, "rounds": ROUNDS, "raw_rounds": RAW_ROUNDS, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
