#!/usr/bin/python3
"""What each stage of `shardreel feed` costs, and how far it scales.

    benchmarks/scaling.py SHARDS... [--rounds 5] [--feed OPTIONS] [--out FILE]

Feeds the shards with 1 to all cores' decode threads, in turn; reads the CPU time of every thread (by
its name) while the process runs. Fits Amdahl's law to the rates that were measured, and models more
cores from the stages' costs: decode threads share their work, a lane's other threads do theirs alone,
so that a lane gives at most the least of threads / decode and 1 / demux and 1 / lane (docs/performance.md).
Prints one JSON object.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from supervise import tell  # noqa: E402

PROGRAM = os.path.join(HERE, "..", "build", "release", "bin", "shardreel")
TICK = os.sysconf("SC_CLK_TCK")
SERIAL = ("sr-demux", "sr-lane")


def thread_seconds(pid):
    """CPU seconds by thread name; threads of one name together."""
    seconds = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            text = file.read()
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        seconds[name] = seconds.get(name, 0) + (int(rest[11]) + int(rest[12])) / TICK
    return seconds


def feed(options, threads):
    command = [PROGRAM, "feed", *options.shards, "--json", "--no-pixel-digest", "--decode-threads",
               str(threads), *shlex.split(options.feed)]
    seconds = {}
    with tempfile.TemporaryFile() as out:
        with subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                try:
                    for name, value in thread_seconds(process.pid).items():
                        seconds[name] = max(seconds.get(name, 0), value)
                except (FileNotFoundError, ProcessLookupError):
                    pass  # a thread or the process ended meanwhile
                time.sleep(0.02)
        out.seek(0)
        told = json.load(out)
    return {"clips_per_second": told["clips"] / told["seconds"],
            "cpu_ms_per_clip": {name: 1000 * value / told["clips"] for name, value in seconds.items()}}


def amdahl(rates):
    """The serial share s of rate(n) = rate(1) * n / (1 + s (n - 1)), by least squares of n / speedup."""
    points = [(n - 1, n * rates[1] / rate - 1) for n, rate in rates.items() if n > 1]
    square = sum(x * x for x, _ in points)
    return max(0.0, sum(x * y for x, y in points) / square) if square else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--feed", default="", help="further options of feed, in one argument")
    parser.add_argument("--out")
    options = parser.parse_args()
    counts = list(range(1, len(os.sched_getaffinity(0)) + 1))
    rounds = [{n: feed(options, n) for n in counts} for _ in range(options.rounds)]
    rates = {n: statistics.median(turn[n]["clips_per_second"] for turn in rounds) for n in counts}
    names = {name for turn in rounds for name in turn[1]["cpu_ms_per_clip"]}
    costs = {name: statistics.median(turn[1]["cpu_ms_per_clip"].get(name, 0) for turn in rounds)
             for name in sorted(names)}
    ceiling = {name: 1000 / costs[name] for name in SERIAL if costs.get(name)}
    model = {n: min([n * 1000 / costs["sr-decode"], *ceiling.values()]) for n in (1, 2, 4, 8, 16, 32, 64)}
    report = {"rounds": options.rounds, "feed": options.feed, "clips_per_second": rates,
              "cpu_ms_per_clip": costs, "amdahl_serial_share": amdahl(rates),
              "lane_ceiling_clips_per_second": ceiling, "modelled_clips_per_second_of_a_lane": model}
    tell(report, options.out)


if __name__ == "__main__":
    main()
