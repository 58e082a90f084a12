#!/usr/bin/python3
"""What Python costs: an iteration of the loader in microseconds, and an epoch beside `shardreel feed`.

    benchmarks/python_overhead.py SHARDS... [--rounds 5] [--batches 2000] [--tensors torch] [--out FILE.json]

Per batch: batches of tiny clips lie ready, then three things are timed: `next`; `next` and the pixels, the
keys and the frame numbers; `next` and every value of the batch. What `next` does in C++ is part of it.
Throughput: the program and a Python loop that makes pixels, keys and frame numbers of each batch read the
same shards with the same options, in turn in every round and each first in every second one; quoted is the
median of the ratios. The program also computes digests of all pixels (a fortieth of its CPU time).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.path.join(HERE, "..", "build", "release"))
sys.path[:0] = [HERE, os.path.join(BUILD, "python")]
import run  # noqa: E402

OPTIONS = {"num_frames": 16, "width": 224, "height": 224, "resize_mode": "stretch", "batch_size": 8,
           "min_fill": 8, "drop_last": False, "shuffle_bytes": run.HELD * run.CLIP_BYTES,
           "memory_bytes": "1GiB", "decode_threads": 2, "rank": 0, "world_size": 1}
READY = 32
USES = {"next": lambda batch: None,
        "next, video, key, frame_index": lambda batch: (batch["video"], batch["key"], batch["frame_index"]),
        "next, all values": dict}


def epoch(shards, tensors):
    import shardreel
    clips, loader = 0, shardreel.Loader(shards, tensors=tensors, **OPTIONS)
    started = time.process_time()  # the interpreter, and torch; ending them is not counted either
    with loader:
        for batch in loader:
            clips += len(batch["video"])
            USES["next, video, key, frame_index"](batch)
        metrics = loader.metrics()
    print(json.dumps({"clips": clips, "seconds": metrics["seconds"], "cpu_seconds": time.process_time() - started,
                      "first_batch_seconds": metrics["first_batch_seconds"]}))


def per_batch(shards, tensors, batches):
    """Microseconds of each use, of batches that nobody had to wait for."""
    import shardreel
    # Windows that overlap: many clips of few frames.
    options = dict(OPTIONS, width=16, height=16, window_stride=1, shuffle_bytes="4MiB", epochs=0,
                   memory_bytes="256MiB", prefetch_batches=READY)
    took = {use: [] for use in USES}
    with shardreel.Loader(shards, tensors=tensors, **options) as loader:
        while min(map(len, took.values())) < batches:
            time.sleep(0.02)
            for use, values in USES.items():
                waited, block = loader.metrics()["consumer_wait_seconds"], []
                for _ in range(READY // 4):
                    began = time.perf_counter_ns()
                    batch = loader.next()
                    if batch is not None:
                        values(batch)
                    block.append((time.perf_counter_ns() - began) / 1000)
                    del batch
                if loader.metrics()["consumer_wait_seconds"] - waited < 1e-4:
                    took[use] += block
    return {use: {"batches": len(times), "median_us": round(statistics.median(times), 1),
                  "p90_us": round(sorted(times)[len(times) * 9 // 10], 1)} for use, times in took.items()}


def timed(command):
    """The JSON object that it prints, with its CPU seconds where it does not say them. Nobody looks into
    its memory meanwhile: that stops the process for a moment, a large one for longer."""
    before = os.times()
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL).stdout.splitlines()[-1])
    after = os.times()
    return {"cpu_seconds": after.children_user + after.children_system
            - before.children_user - before.children_system, **result}


def throughput(shards, tensors, rounds):
    contestants = {
        "feed": run.feed(os.path.join(BUILD, "bin", "shardreel"), shards, []),
        "python": [sys.executable, os.path.abspath(__file__), *shards, "--tensors", tensors, "--epoch"]}
    turns, ratios, cpu_ratios = [], [], []
    for turn in range(rounds + 1):  # the first one fills the page cache
        names = sorted(contestants, reverse=turn % 2 == 0)
        results = {name: timed(contestants[name]) for name in names}
        if results["python"]["clips"] != results["feed"]["clips"]:
            sys.exit(f"python got {results['python']['clips']} clips, feed {results['feed']['clips']}")
        ratio = results["feed"]["seconds"] / results["python"]["seconds"]
        print(f"round {turn} of {rounds}: python at {ratio:.3f} of feed", file=sys.stderr)
        if turn > 0:
            turns.append(results)
            ratios.append(ratio)
            cpu_ratios.append(results["python"]["cpu_seconds"] / results["feed"]["cpu_seconds"])
    report = {name: {figure: statistics.median(results[name][figure] for results in turns)
                     for figure in ("clips", "seconds", "cpu_seconds", "first_batch_seconds")}
              for name in contestants}
    return {**report,
            "python_over_feed_speed": {"median": statistics.median(ratios), "rounds": ratios},
            "python_over_feed_cpu": {"median": statistics.median(cpu_ratios), "rounds": cpu_ratios}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--tensors", default="torch", choices=["torch", "numpy", "dlpack"])
    parser.add_argument("--out")
    parser.add_argument("--epoch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epoch:
        epoch(options.shards, options.tensors)
        return
    report = {"machine": run.stamp(), "command": " ".join(sys.argv),
              "per_batch": per_batch(options.shards, options.tensors, options.batches),
              "throughput": throughput(options.shards, options.tensors, options.rounds)}
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
