#!/usr/bin/env python3
"""See remote_throughput.sh.

    remote_throughput.py PROGRAM
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


def measured(command):
    """Seconds and CPU seconds of a command, its children's included."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        with open(os.path.join(root, "shard.tar"), "wb") as file:
            for _ in range(BYTES >> 20):
                file.write(os.urandom(1 << 20))
        nginx = servers.Nginx(os.path.join(root, "nginx"), root)
        try:
            rows = {}
            for scheme, base in (("http", nginx.url), ("https", nginx.tls_url)):
                url = base + "/data/shard.tar"
                both = {"shardreel": [program, url, nginx.ca_file],
                        "curl": ["curl", "-sf", "--http1.1", "--cacert", nginx.ca_file, "-o", "/dev/null", url]}
                times = {name: [] for name in both}
                for _ in range(ROUNDS):
                    for name, command in both.items():
                        times[name].append(measured(command))
                for name in both:
                    rows[f"{scheme} {name}"] = {
                        "gb_per_second": BYTES / statistics.median(t[0] for t in times[name]) / 1e9,
                        "cpu_seconds_per_gib": statistics.median(t[1] for t in times[name]) * (1 << 30) / BYTES}
                ratios = [[c / s for c, s in zip(curl, own)] for curl, own in zip(times["curl"], times["shardreel"])]
                rows[f"{scheme} ratio"] = {"throughput": statistics.median(r[0] for r in ratios),
                                           "cpu": 1 / statistics.median(r[1] for r in ratios)}
        finally:
            nginx.stop()
    print(json.dumps({"machine": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
                      "bytes": BYTES, "rounds": ROUNDS, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
