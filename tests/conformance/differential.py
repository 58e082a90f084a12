#!/usr/bin/env python3
"""Compare compat with the reference on random archives.

  differential.py DUMP_SAMPLES [--count N] [--seed S] [--media FOLDER] [--keep FOLDER] [--verbose]

Every archive is read by the program DUMP_SAMPLES (shardreel) and by the reference (reference.py).
What must hold: the same samples, bytes and order, save differences of the classes below, which are
described in docs/conformance.md; none on an intact archive and together under 2 %. Strict is looked
at as well: it gives what compat gives or says that something is wrong. Exit 0 when all that holds.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zlib

import fuzz_archives
import reference

MOST = 0.02


def shared_archives():
    """As tests/support finds the shared media."""
    media = os.environ.get("SHARDREEL_MEDIA_DIR")
    beside = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "media"
    folder = pathlib.Path(media) if media else beside
    return str(folder / "tars") if (folder / "tars").is_dir() else None


def summary(samples):
    return [[key.hex(), [[name.hex(), len(data), zlib.crc32(data)] for name, data in fields]]
            for key, fields in samples]


def class_of(ours, theirs, errors):
    """The name of the class a difference belongs to, or None."""
    if any(error.startswith("MemoryError") or error == "hangs" for error in errors):
        return "claims"
    lowered = [[key, [[reference.lower(name), size, crc] for name, size, crc in fields]]
               for key, fields in ours]
    return "letter case" if lowered == theirs else None


class Run:
    def __init__(self, dump, keep, verbose):
        self.reader = reference.best()
        self.program = subprocess.Popen([dump], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=reference.unbound_memory)
        self.keep, self.verbose = keep, verbose
        self.total = self.intact = self.samples = 0
        self.classes = collections.Counter()
        self.loud = collections.Counter()
        self.bad = []

    def check(self, path, label, done, odd=False):
        self.program.stdin.write(path + "\n")
        self.program.stdin.flush()
        theirs, errors = reference.read(self.reader, path)
        line = self.program.stdout.readline()
        if not line:
            raise SystemExit(f"{label}: the program ended ({self.program.wait()})")
        ours = json.loads(line)
        theirs = summary(theirs)
        self.total += 1
        self.intact += not done
        self.samples += len(theirs)
        compat, strict = ours["compat"], ours["strict"]
        if compat["samples"] != theirs:
            known = class_of(compat["samples"], theirs, errors)
            if known is None or not done:
                self.complain(path, label, f"differs ({known}): ours {compat['samples']}"
                              f" {compat['errors']}\n   reference {theirs} {errors}", done)
            self.classes[known] += 1
        elif bool(compat["errors"]) != bool(errors):
            if not done:
                self.complain(path, label, f"loud: ours {compat['errors']}, reference {errors}", done)
            claims = class_of(compat["samples"], theirs, errors) == "claims"
            self.loud["ours only" if compat["errors"] else
                      "the reference only" + (": claims" if claims else "")] += 1
            if self.verbose:
                print("loud", label, done, compat["errors"], errors)
        if done or odd:
            return
        twice = [e for e in strict["errors"] if e.startswith("duplicate_field")]
        if len(twice) != len(strict["errors"]):
            self.complain(path, label, f"strict refuses an intact archive: {strict['errors']}", done)
        left = iter(compat["samples"])
        if len(strict["samples"]) + len(twice) < len(compat["samples"]) or \
                not all(sample in left for sample in strict["samples"]):
            self.complain(path, label, f"strict differs: {strict['samples']} {strict['errors']}\n"
                          f"   compat {compat['samples']}", done)

    def complain(self, path, label, text, done):
        self.bad.append(label)
        print(f"BAD {label} {done}: {text:.1500}")
        if self.keep:
            (pathlib.Path(self.keep) / f"{label}.tar").write_bytes(pathlib.Path(path).read_bytes())

    def report(self):
        differ = sum(self.classes.values())
        print(f"{self.total} archives ({self.intact} intact, {self.samples} samples) against "
              f"{self.reader.name}: {differ} differ ({100 * differ / max(self.total, 1):.2f} %)")
        for name, count in self.classes.most_common():
            print(f"  {count:6} {name}")
        print(f"  an error only one of both raises, samples equal: {dict(self.loud)}")
        # An error that one of both passes over is a difference too, save where the reference runs out
        # of memory.
        differ += sum(self.loud.values()) - self.loud["the reference only: claims"]
        return not self.bad and differ <= MOST * self.total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dump")
    parser.add_argument("--count", type=int, help="default 500, 10,000 under SHARDREEL_FULL_TESTS=1",
                        default=10000 if os.environ.get("SHARDREEL_FULL_TESTS") == "1" else 500)
    parser.add_argument("--seed", type=int,
                        default=os.environ.get("SHARDREEL_TEST_SEED", random.randrange(1 << 32)))
    parser.add_argument("--media", default=shared_archives(),
                        help="a folder of archives to compare on as well; default: the shared ones")
    parser.add_argument("--keep", help="a folder for the archives that something is wrong with")
    parser.add_argument("--only", type=int, help="this archive of the seed alone")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    reference.bound_memory()
    run = Run(given.dump, given.keep, given.verbose)
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive.tar")
        for number in range(given.count) if given.only is None else [given.only]:
            rng = random.Random(f"{given.seed}/{number}")
            data, done = fuzz_archives.archive(rng)
            pathlib.Path(path).write_bytes(data)
            run.check(path, f"{given.seed}-{number}", done, rng.odd)
    whole = run.report()
    if given.media:
        shared = Run(given.dump, given.keep, given.verbose)
        for file in sorted(pathlib.Path(given.media).glob("*.tar*")):
            shared.check(str(file), file.name, ["shared"])
        whole = shared.report() and whole
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
