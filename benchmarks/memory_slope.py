#!/usr/bin/python3
"""Does the resident memory of a feeding process grow? Feeds for a while, samples PSS, fits a line.

    benchmarks/memory_slope.py SHARDS... [--minutes 20] [--budgets 192MiB 512MiB 2GiB] [--out FILE]
                               [--feed OPTIONS]

One process a budget, all at the same time. The peak is that of PSS. The line is fitted to the second
half of the samples of anonymous PSS: a share of a library's pages grows when another process that maps
it ends. It rises when its slope is above twice its standard error and would add 2 % of the budget in the time that
was measured. Prints one JSON object; status 1 when a peak is above the budget + 96 MiB or a line
rises.
"""
import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from supervise import pss_bytes, tell  # noqa: E402

PROGRAM = os.path.join(HERE, "..", "build", "release", "bin", "shardreel")
ALLOWANCE = 96 << 20
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def size(text):
    return int(text[:-3]) * UNITS[text[-3:]]


def fit(points):
    """Slope in bytes a second, and its standard error."""
    times, values = zip(*points)
    mean_t, mean_v = statistics.fmean(times), statistics.fmean(values)
    square = sum((t - mean_t) ** 2 for t in times)
    slope = sum((t - mean_t) * (v - mean_v) for t, v in points) / square
    rest = sum((v - mean_v - slope * (t - mean_t)) ** 2 for t, v in points)
    return slope, (rest / max(1, len(points) - 2) / square) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--budgets", nargs="+", default=["192MiB", "512MiB", "2GiB"])
    parser.add_argument("--feed", default="", help="further options of feed, in one argument")
    parser.add_argument("--out")
    options = parser.parse_args()
    running, samples = {}, {budget: [] for budget in options.budgets}
    for budget in options.budgets:
        command = [PROGRAM, "feed", *options.shards, "--memory-bytes", budget, "--epochs", "0", "--json",
                   *shlex.split(options.feed)]
        running[budget] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while time.monotonic() - began < options.minutes * 60:
        time.sleep(2)
        for budget, process in running.items():
            if process.poll() is not None:
                sys.exit(f"feeding with {budget} ended early with status {process.returncode}")
            samples[budget].append((time.monotonic() - began, pss_bytes(process.pid),
                                    pss_bytes(process.pid, "Pss_Anon:")))
    report, good = {"minutes": options.minutes, "feed": options.feed, "budgets": {}}, True
    for budget, process in running.items():
        process.send_signal(signal.SIGTERM)
        told = json.loads(process.communicate(timeout=60)[0])
        points = samples[budget]
        slope, error = fit([(at, anonymous) for at, _, anonymous in points[len(points) // 2:]])
        peak = max(value for _, value, _ in points)
        rises = slope > 2 * error and slope * options.minutes * 60 > 0.02 * size(budget)
        within = peak <= size(budget) + ALLOWANCE
        good = good and within and not rises
        report["budgets"][budget] = {
            "peak_pss_bytes": peak, "allowed_bytes": size(budget) + ALLOWANCE, "within": within,
            "slope_bytes_per_second": round(slope, 1), "standard_error": round(error, 1),
            "rises": rises, "clips": told["clips"], "ledger_peak_bytes": told["ledger_peak_bytes"],
            "pss_and_anonymous_mib": [[round(at), round(value / 2**20, 1), round(anonymous / 2**20, 1)]
                                      for at, value, anonymous in points[::15]]}
    tell(report, options.out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
