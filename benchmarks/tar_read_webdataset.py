#!/usr/bin/env python3
"""Print how many samples Python webdataset reads from a shard in a second, and in a second of CPU
time: nothing is decoded, the package's import does not count. For benchmarks/tar_read."""
import pathlib
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "conformance"))
import reference  # noqa: E402


def main():
    package, reason = reference.import_webdataset()
    if package is None:
        sys.exit(reason)
    samples = 0
    begin, cpu = time.perf_counter(), time.process_time()
    for sample in package.WebDataset(sys.argv[1], shardshuffle=False):
        samples += "mp4" in sample
    print(samples / (time.perf_counter() - begin), samples / (time.process_time() - cpu))


if __name__ == "__main__":
    main()
