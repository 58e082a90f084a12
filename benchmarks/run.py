#!/usr/bin/python3
"""The yardstick: shardreel beside its peers, the ffmpeg program and the floor (bare decoding).

    benchmarks/run.py --data DATA [--workload small sparse …] [--rounds 5] [--peers all|none|NAMES]
                      [--base BIN] [--label NAME] [--out FOLDER]
    benchmarks/run.py --suite python --data DATA …

DATA holds kin/shards/*.tar (340x256), for hd, hd/shards/*.tar (1280x720), and for mixed,
mixed/shards/*.tar, as benchmarks/make_data.sh makes them. Everybody reads the same shards, makes the same
windows (16 frames, 224x224 RGB, batches of 8) and holds at most 256 clips in its shuffle buffers; two
decode threads or two workers. The contestants take turns within a round; what is quoted are medians, and
ratios within a round. Pixels are compared once, before anything is timed. --base also runs the `shardreel`
of another build. Writes run-LABEL.json and run-LABEL.md, and prints the table.

The suite `python` compares what Python users can choose from, the package shardreel among them, on two
shards of the workload `small`: webdataset with PyAV without and with worker processes, the others with.
"""
import argparse
import glob
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import supervise  # noqa: E402

BUILD = os.path.join(HERE, "..", "build", "release")
BIN = os.path.join(BUILD, "bin")
PYTHON = "/usr/bin/python3"
CLIP_BYTES = 16 * 224 * 224 * 3
HELD = 256
WHOLE_VIDEOS = "floor, whole videos"  # what one window a video costs without seeking, and nothing else

# windows: what `feed` and the floor are told; sampling: what a peer is told; memory: the budget of `feed`,
# else 1 GiB. The 256 clips take 588 MiB of it; two batches ready and one in hand, as many as torch's loader
# has ready for one of its two workers, another 55.
WORKLOADS = {
    "small": {"data": "kin", "windows": [], "sampling": "dense", "memory": "728MiB"},
    "sparse": {"data": "kin", "windows": ["--windows-per-video", "1"], "sampling": "sparse"},
    "strided": {"data": "kin", "windows": ["--frame-step", "4"], "sampling": "strided"},
    "hd": {"data": "hd", "windows": [], "sampling": "dense"},
    # Whatever lies in DATA/mixed: of many codecs, sizes and lengths, so that no peer decodes it whole.
    "mixed": {"data": "mixed", "windows": ["--windows-per-video", "4"], "sampling": None},
}
PEERS = {
    "shardreel-python": "import shardreel, torch",
    "webdataset-pyav": "import webdataset, av, torch",
    "webdataset-opencv": "import webdataset, cv2, torch",
    "webdataset-decord": "import webdataset, decord, torch",
    "webdataset-torchcodec": "import webdataset, torchcodec, torch",
    "spdl-spdl": "import spdl.io",
    "mosaicml-pyav": "import streaming, av, torch",
}


def importable(statement):
    return subprocess.run([PYTHON, "-c", statement], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def feed(program, shards, windows, domain="frames", shuffle=str(HELD * CLIP_BYTES), memory="1GiB"):
    return [program, "feed", *shards, "--json", "--no-pixel-digest", "--decode-threads", "2",
            "--min-fill", "8", "--resize-mode", "stretch", "--drop-last", "false", "--held-batches", "1",
            "--shuffle-domain", domain, "--shuffle-bytes", shuffle,
            "--memory-bytes", memory, *windows]


def ffmpeg(shards, folder):
    """Two processes, each decoding and scaling its half of the videos."""
    lists = []
    for half in range(2):
        lists.append(os.path.join(folder, f"half{half}.txt"))
        with open(lists[-1], "w") as file:
            file.writelines(f"file '{path}'\n" for path in extract(shards, folder)[half::2])
    one = ("ffmpeg -nostdin -v error -threads 1 -filter_threads 1 -f concat -safe 0 -i {} -map 0:v:0 "
           "-vf scale=224:224:flags=bilinear,format=rgb24 -f null -")
    both = " & ".join(one.format(name) for name in lists)
    return ["bash", "-c", f"set -e; {both} & wait"]


def extract(shards, folder):
    import tarfile
    paths = []
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.endswith(".mp4"):
                    paths.append(os.path.join(folder, os.path.basename(member.name)))
                    if not os.path.exists(paths[-1]):
                        with open(paths[-1], "wb") as file:
                            file.write(archive.extractfile(member).read())
    return paths


def peer_command(peer, sampling, shards, workers):
    return [PYTHON, os.path.join(HERE, "peers", "pipelines.py"), peer, *shards, "--sampling", sampling,
            "--workers", str(workers), "--shuffle-clips", str(HELD)]


def python_contestants(options, workload, shards):
    """What runs in Python, beside the program."""
    windows, sampling = WORKLOADS[workload]["windows"], WORKLOADS[workload]["sampling"]
    memory = WORKLOADS[workload].get("memory", "1GiB")
    commands = {"shardreel": feed(os.path.join(BIN, "shardreel"), shards, windows, memory=memory)}
    for peer in options.peers:
        if peer == "shardreel-python":
            commands[peer] = peer_command(peer, sampling, shards, 0)
            continue
        if peer == "webdataset-pyav":
            commands[f"{peer}, 0 workers"] = peer_command(peer, sampling, shards, 0)
        commands[f"{peer}, 2 workers"] = peer_command(peer, sampling, shards, 2)
    return commands


def contestants(options, workload, shards, folder):
    program = os.path.join(BIN, "shardreel")
    windows = WORKLOADS[workload]["windows"]
    sampling = WORKLOADS[workload]["sampling"]
    if sampling is None:  # what the largest video takes
        return {"floor": [os.path.join(BIN, "decode_floor"), *shards, *windows],
                "shardreel": feed(program, shards, windows, memory="3GiB"),
                "shardreel, packets": feed(program, shards, windows, "packets", memory="3GiB")}
    memory = WORKLOADS[workload].get("memory", "1GiB")
    commands = {"floor": [os.path.join(BIN, "decode_floor"), *shards, *windows],
                "shardreel": feed(program, shards, windows, memory=memory),
                "shardreel, packets": feed(program, shards, windows, "packets", "64MiB", "320MiB")}
    if options.base:
        commands["shardreel, base"] = feed(os.path.join(options.base, "shardreel"), shards, windows,
                                            memory=memory)
    if sampling == "sparse":
        commands[WHOLE_VIDEOS] = [os.path.join(BIN, "decode_floor"), *shards]
    if sampling == "dense":
        commands["ffmpeg"] = ffmpeg(shards, folder)
    for peer in options.peers:
        commands[peer] = peer_command(peer, sampling, shards, 2)
    return commands


def compare_pixels(options, shards, folder):
    """PSNR in dB of every peer's first clips against ours: that they do the same work."""
    import numpy
    ours = os.path.join(folder, "ours")
    os.makedirs(ours, exist_ok=True)
    subprocess.run([os.path.join(BIN, "clip_dump"), *shards, "--out", ours], check=True)
    found = {}
    for peer in options.peers:
        dump = os.path.join(folder, "theirs.npz")
        subprocess.run([PYTHON, os.path.join(HERE, "peers", "pipelines.py"), peer, *shards,
                        "--workers", "0", "--dump", dump], check=True, stdout=subprocess.DEVNULL)
        worst, theirs = 99.0, numpy.load(dump)
        for name in theirs.files:
            mine = numpy.fromfile(os.path.join(ours, name + ".rgb"), dtype=numpy.uint8)
            difference = mine.reshape(theirs[name].shape).astype(float) - theirs[name]
            worst = min(worst, 10 * numpy.log10(255**2 / max(1e-9, (difference**2).mean())))
        found[peer] = {"clips": len(theirs.files), "worst_psnr_db": round(float(worst), 1)}
        if worst < 25:
            sys.exit(f"{peer} gives other pictures: {worst:.1f} dB at worst")
    return found


def spread(values):
    middle = statistics.median(values)
    return {"median": middle, "min": min(values), "max": max(values)}


def summarise(rounds, clips):
    """Medians of what a contestant took, and of its ratios to shardreel in the same round."""
    summary = {}
    for name in rounds[0]:
        runs = [turn[name] for turn in rounds]
        row = {"clips": clips,
               "clips_per_second": spread([clips / (run.get("seconds") or run["wall_seconds"])
                                           for run in runs]),
               "cpu_seconds_per_1000_frames": spread([run["cpu_seconds"] * 1000 / (clips * 16)
                                                      for run in runs]),
               "peak_pss_bytes": spread([run["tree_pss_bytes"] for run in runs]),
               "shardreel_over_this_speed": statistics.median(
                   (turn[name].get("seconds") or turn[name]["wall_seconds"]) /
                   turn["shardreel"]["seconds"] for turn in rounds),
               "this_over_shardreel_cpu": statistics.median(
                   turn[name]["cpu_seconds"] / turn["shardreel"]["cpu_seconds"] for turn in rounds)}
        if name not in ("floor", WHOLE_VIDEOS, "ffmpeg", "shardreel, packets"):  # who holds that many clips
            row["pss_above_shuffle_bytes"] = spread([run["tree_pss_bytes"] - HELD * CLIP_BYTES
                                                     for run in runs])
        if all("first_batch_seconds" in run for run in runs):
            row["first_batch_seconds"] = spread([run["first_batch_seconds"] for run in runs])
        summary[name] = row
    return summary


def table(summary):
    lines = ["| | clips/s | CPU s per 1,000 frames | peak PSS MiB | first batch s | speed: shardreel "
             "over it | CPU: it over shardreel |", "|---|---|---|---|---|---|---|"]
    for name, row in summary.items():
        first = row.get("first_batch_seconds")
        lines.append(
            f"| {name} | {row['clips_per_second']['median']:.0f} | "
            f"{row['cpu_seconds_per_1000_frames']['median']:.3f} | "
            f"{row['peak_pss_bytes']['median'] / 2**20:.0f} | "
            f"{format(first['median'], '.2f') if first else '–'} | "
            f"{row['shardreel_over_this_speed']:.2f} | {row['this_over_shardreel_cpu']:.2f} |")
    return "\n".join(lines)


def stamp():
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, check=False).stdout.decode().strip()
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit, "cpu": model, "cores": os.cpu_count(),
            "system": platform.platform(), "load": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--suite", choices=["native", "python"], default="native")
    parser.add_argument("--shards", type=int, help="of each kind, at most; 4, for python 2")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, help="all; for python small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", default=["all"])
    parser.add_argument("--base", help="folder with the programs of another build")
    parser.add_argument("--label", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    options = parser.parse_args()
    python = options.suite == "python"
    options.shards = options.shards or (2 if python else 4)
    options.workload = options.workload or (["small"] if python else list(WORKLOADS))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [os.path.abspath(os.path.join(BUILD, "python")), os.environ.get("PYTHONPATH")]))
    if options.peers == ["all"]:
        options.peers = [peer for peer, needs in PEERS.items() if importable(needs)]
        missing = sorted(set(PEERS) - set(options.peers))
        if missing:
            print(f"not importable, left out: {', '.join(missing)}", file=sys.stderr)
    elif options.peers == ["none"]:
        options.peers = []
    report = {"machine": stamp(), "suite": options.suite, "rounds": options.rounds, "workloads": {}}
    text = ""
    for workload in options.workload:
        pattern = os.path.join(options.data, WORKLOADS[workload]["data"], "shards", "*.tar")
        shards = sorted(glob.glob(pattern))[:options.shards]
        if not shards and workload == "mixed":
            print(f"no shards match {pattern}: the workload mixed is left out", file=sys.stderr)
            continue
        if not shards:
            sys.exit(f"no shards match {pattern}")
        with tempfile.TemporaryDirectory() as folder:
            known = WORKLOADS[workload]["sampling"] is not None
            pixels = compare_pixels(options, shards[:1], folder) if known else {}
            commands = (python_contestants(options, workload, shards) if python
                        else contestants(options, workload, shards, folder))
            rounds = []
            for turn in range(options.rounds + 1):  # the first one fills the page cache
                results = {name: supervise.run(command) for name, command in commands.items()}
                if turn > 0:
                    rounds.append(results)
                print(f"{workload}, round {turn} of {options.rounds}", file=sys.stderr)
        clips = rounds[0]["shardreel"]["clips"]
        for name, result in rounds[0].items():
            # A video in mixed may be damaged: the floor does not judge clips.
            if known and name != WHOLE_VIDEOS and abs(result.get("clips", clips) - clips) > len(shards) * 25:
                sys.exit(f"{workload}: {name} made {result['clips']} clips, shardreel {clips}")
        summary = summarise(rounds, clips)
        report["workloads"][workload] = {"shards": len(shards), "pixels": pixels,
                                         "contestants": summary}
        text += f"\n## {workload}: {clips} clips\n\n{table(summary)}\n"
    os.makedirs(options.out, exist_ok=True)
    stem = os.path.join(options.out, f"run-{options.label}")
    with open(stem + ".json", "w") as file:
        json.dump(report, file, indent=1)
    with open(stem + ".md", "w") as file:
        file.write(f"# Side by side\n\n`benchmarks/run.py`, {json.dumps(report['machine'])}\n{text}")
    print(text)


if __name__ == "__main__":
    main()
