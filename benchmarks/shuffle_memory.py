#!/usr/bin/python3
"""What a shuffle buffer holds in memory, and what it buys: all modes side by side, with a plot.

    benchmarks/shuffle_memory.py SHARDS... [--label NAME] [--buffer-clips 256] [--out FOLDER]

Runs build/release/bin/shuffle_memory in every mode, dense and with one window a video, and the same
with Python webdataset + PyAV where both can be imported (PYTHONPATH). Writes shuffle_memory-NAME.json,
.md, .png and .svg. Every mode runs twice, with the whole and half of its buffer: the difference in
anonymous memory over the difference in nominal bytes is what a nominal byte really retains; what a
pipeline needs besides its buffer cancels out. Where that difference is below 64 MiB it is not stated, and
clips per GiB are of nominal bytes. docs/performance.md defines the figures.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "..", "build", "release", "bin", "shuffle_memory")
PEER = os.path.join(HERE, "shuffle_memory", "wds_pyav.py")
OWN_MODES = ("view", "copy", "copy-yuv420", "packets")
PEER_MODES = ("webdataset-view", "webdataset-copy")
SECONDS, PSS, ANONYMOUS, LEDGER, NOMINAL, CLIPS = range(6)
LEAST_DIFFERENCE = 64 << 20  # bytes between the whole and half of a buffer


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} … failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return json.loads(done.stdout)


def run_mode(mode, shards, buffer_clips, windows, *more):
    if mode in PEER_MODES:
        command = ["/usr/bin/python3", PEER, "--slice", mode.split("-")[1]]
    else:
        command = [PROGRAM, "--mode", mode, *more]
    return run(command + ["--buffer-clips", str(buffer_clips), "--windows-per-video", str(windows), *shards])


def peers_importable():
    return subprocess.run(["/usr/bin/python3", "-c", "import webdataset, av, numpy"],
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def plateau(result):
    """(anonymous bytes, nominal bytes) in the middle of the time in which the buffer is full."""
    series = result["series"]
    full = max(row[CLIPS] for row in series)
    rows = [row for row in series if row[CLIPS] >= 0.9 * full] or series
    return (statistics.median(row[ANONYMOUS] for row in rows),
            statistics.median(row[NOMINAL] for row in rows))


def displacement(order, base):
    """Mean distance between a clip's place and its place without a clip shuffle, over that of a
    uniform shuffle of everything, which is a third of the clips."""
    places = [base(clip) for batch in order for clip in batch]
    ranks = {place: rank for rank, place in enumerate(sorted(places))}
    distance = statistics.mean(abs(at - ranks[place]) for at, place in enumerate(places))
    return distance / (len(places) / 3)


def collisions(order):
    """Mean number of pairs of clips from one video in a batch."""
    def pairs(batch):
        videos = [tuple(clip[:2]) if isinstance(clip[0], int) else clip[0] for clip in batch]
        return sum(videos[i] == videos[j] for i in range(len(videos)) for j in range(i))
    return statistics.mean(pairs(batch) for batch in order)


def measure(mode, shards, buffer_clips, windows, base):
    # Thirty times more fits as packets: a full tier needs a smaller buffer.
    size = max(2, buffer_clips // 8) if mode == "packets" else buffer_clips
    whole = run_mode(mode, shards, size, windows)
    half = run_mode(mode, shards, size // 2, windows)
    anonymous, nominal = plateau(whole)
    half_anonymous, half_nominal = plateau(half)
    more = nominal - half_nominal
    # Of less, what the memory of a process does by itself cannot be told.
    retained = (anonymous - half_anonymous) / more if more >= LEAST_DIFFERENCE else None
    clips = max(row[CLIPS] for row in whole["series"])
    retained_gib = nominal * (1 if retained is None else retained) / 2**30
    entry = (lambda clip: clip[1]) if mode in PEER_MODES else (lambda clip: base[tuple(clip)])
    mixed = displacement(whole["order"], entry)
    return whole, {
        "mode": mode, "buffer_bytes": whole["buffer_bytes"], "clips_held": clips,
        "nominal_bytes": nominal, "retained_over_nominal": None if retained is None else round(retained, 3),
        "clips_per_gib": round(clips / retained_gib),
        "displacement": round(mixed, 3), "displacement_per_gib": round(mixed / retained_gib, 2),
        "collisions_per_batch": round(collisions(whole["order"]), 3),
        "peak_pss_bytes": max(row[PSS] for row in whole["series"]),
        "peak_ledger_bytes": max(row[LEDGER] for row in whole["series"]),
        "clips_per_second": round(whole["clips"] / whole["seconds"], 1),
        "cpu_seconds_per_1000_clips": round(1000 * whole["cpu_seconds"] / whole["clips"], 2),
        "clips": whole["clips"]}


def table(rows):
    head = ("mode", "held clips", "retained / nominal", "clips per GiB", "displacement", "per GiB",
            "pairs of a video a batch", "peak PSS MiB", "clips/s", "CPU s per 1,000")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        retained = row["retained_over_nominal"]
        cells = (row["mode"], row["clips_held"], "-" if retained is None else retained, row["clips_per_gib"],
                 row["displacement"], row["displacement_per_gib"], row["collisions_per_batch"],
                 round(row["peak_pss_bytes"] / 2**20), row["clips_per_second"],
                 row["cpu_seconds_per_1000_clips"])
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def plot(runs, label, stem):
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib (python3-matplotlib) is missing", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(1, len(runs), figsize=(6.4 * len(runs), 4.2), squeeze=False)
    for panel, (name, results) in zip(panels[0], runs.items()):
        for result in results:
            series = result["series"]
            line, = panel.plot([row[SECONDS] for row in series], [row[PSS] / 2**30 for row in series],
                               label=result["mode"])
            panel.plot([row[SECONDS] for row in series], [row[NOMINAL] / 2**30 for row in series],
                       color=line.get_color(), linestyle=":", linewidth=1)
        panel.set_title(f"{name} ({label})")
        panel.set_xlabel("seconds")
        panel.set_ylabel("GiB: resident (PSS); dotted: what the buffer counts")
        panel.set_ylim(bottom=0)
        panel.legend()
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(f"{stem}.{kind}", dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--label", default="shards")
    parser.add_argument("--buffer-clips", type=int, default=256, help="dense; a quarter of it sparse")
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    options = parser.parse_args()
    modes = OWN_MODES + (PEER_MODES if peers_importable() else ())
    if len(modes) == len(OWN_MODES):
        print("webdataset or av cannot be imported: left out", file=sys.stderr)
    report = {"label": options.label, "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(),
              "machine": platform.platform(), "sampling": {}}
    series = {}
    for name, windows in (("dense", 0), ("one window a video", 1)):
        clips = options.buffer_clips if windows == 0 else options.buffer_clips // 4
        unshuffled = run_mode("copy", options.shards, clips, windows, "--shuffle", "shards")
        base = {tuple(clip): place
                for place, clip in enumerate(clip for batch in unshuffled["order"] for clip in batch)}
        rows, series[name] = [], []
        for mode in modes:
            whole, row = measure(mode, options.shards, clips, windows, base)
            print(f"{name}: {json.dumps(row)}", file=sys.stderr)
            rows.append(row)
            series[name].append(whole)
        report["sampling"][name] = rows
    os.makedirs(options.out, exist_ok=True)
    stem = os.path.join(options.out, f"shuffle_memory-{options.label}")
    with open(stem + ".json", "w") as file:
        json.dump(report, file, indent=1)
    text = "\n\n".join(f"{name}\n\n{table(rows)}" for name, rows in report["sampling"].items())
    with open(stem + ".md", "w") as file:
        file.write(f"# Shuffle memory, {options.label}\n\n{text}\n")
    plot(series, options.label, stem)
    print(text)


if __name__ == "__main__":
    main()
