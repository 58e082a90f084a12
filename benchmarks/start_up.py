#!/usr/bin/python3
"""How soon the first batch is there, and what a long list of shards costs.

    benchmarks/start_up.py SHARDS... [--rounds 5] [--out FILE]

Each round starts processes of their own, in turn, for a first batch of 8 clips (a minimum fill of 8):
`feed --max-batches 1`; webdataset with PyAV and 0 and 2 workers; and `feed` once more with a list of 10
and one of 2**20 shards, which brace patterns name without being written out (the same files by other
paths). What counts is the time from starting the process to the moment at which it has the batch, which
each of them reports; the whole life of `feed`, to its exit, is told besides. Prints one JSON object:
medians of seconds and of peak PSS, and the ratios within a round.
"""
import argparse
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import supervise  # noqa: E402

PROGRAM = os.path.join(HERE, "..", "build", "release", "bin", "shardreel")
PIPELINES = os.path.join(HERE, "peers", "pipelines.py")
DOUBLINGS = 20


def feed(shards):
    return [PROGRAM, "feed", *shards, "--json", "--no-pixel-digest", "--max-batches", "1",
            "--batch-size", "8", "--min-fill", "8", "--decode-threads", "2", "--resize-mode", "stretch"]


def peer(shards, workers):
    return ["/usr/bin/python3", PIPELINES, "webdataset-pyav", *shards, "--workers", str(workers),
            "--clips", "1"]


def by_other_paths(shard, doublings):
    """A pattern for 2**doublings names of one file."""
    folder, name = os.path.split(os.path.abspath(shard))
    return folder + "{,/.}" * doublings + "/" + name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    one = options.shards[0]
    commands = {
        "shardreel": feed(options.shards),
        "shardreel, 10 shards": feed([by_other_paths(one, 3), by_other_paths(one, 1)]),
        "shardreel, 1048576 shards": feed([by_other_paths(one, DOUBLINGS)]),
        "webdataset-pyav, 0 workers": peer(options.shards, 0),
        "webdataset-pyav, 2 workers": peer(options.shards, 2),
    }
    rounds = []
    for turn in range(options.rounds + 1):  # the first one fills the page cache
        taken = {}
        for name, command in commands.items():
            told = supervise.run(command)
            at = told.get("details", told)["first_batch_at"]
            taken[name] = {"seconds": at - told["began_at"], "life_seconds": told["wall_seconds"],
                           "peak_pss_bytes": told.get("peak_pss_bytes", told["tree_pss_bytes"])}
        if turn > 0:
            rounds.append(taken)

    def median(value):
        return statistics.median(value(turn) for turn in rounds)

    report = {"rounds": options.rounds}
    for name in commands:
        report[name] = {"seconds": round(median(lambda turn: turn[name]["seconds"]), 3),
                        "peak_pss_mib": round(median(lambda turn: turn[name]["peak_pss_bytes"]) / 2**20),
                        "over_shardreel": round(median(lambda turn: turn[name]["seconds"] /
                                                       turn["shardreel"]["seconds"]), 2)}
    report["shardreel"]["life_seconds"] = round(median(lambda turn: turn["shardreel"]["life_seconds"]), 3)
    few, many = "shardreel, 10 shards", "shardreel, 1048576 shards"
    report["long_list"] = {
        "seconds_more": round(median(lambda turn: turn[many]["seconds"] - turn[few]["seconds"]), 3),
        "bytes_a_shard": round(median(lambda turn: turn[many]["peak_pss_bytes"]
                                      - turn[few]["peak_pss_bytes"]) / 2**DOUBLINGS, 1)}
    supervise.tell(report, options.out)


if __name__ == "__main__":
    main()
