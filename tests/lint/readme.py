#!/usr/bin/env python3
"""The README's program: take it out, and check that it prints what the README says.

    readme.py extract README.md OUT.cpp
    readme.py check README.md PROGRAM SHARDREEL WORK_FOLDER
"""

import os
import re
import subprocess
import sys


def block(readme, language):
    with open(readme, encoding="utf-8") as file:
        found = re.search(rf"^```{language}\n(.*?)^```$", file.read(), re.DOTALL | re.MULTILINE)
    if not found:
        sys.exit(f"{readme} has no ```{language} block")
    return found.group(1)


def extract(readme, out):
    with open(out, "w", encoding="utf-8") as file:
        file.write(block(readme, "cpp"))


def check(readme, program, shardreel, work):
    """Make the shards that the README's program reads, as tools/quickstart.sh does, and run it."""
    tool = os.path.join(os.path.dirname(os.path.abspath(readme)), "tools", "make_clips.py")
    base = os.path.join(work, "build", "quickstart")
    os.makedirs(base, exist_ok=True)
    subprocess.run([sys.executable, tool, os.path.join(base, "clips")], check=True)
    subprocess.run([shardreel, "pack", os.path.join(base, "clips", "train"), "--out", os.path.join(base, "train"),
                    "--shard-samples", "13", "--overwrite"], check=True)
    found = subprocess.run([program], cwd=work, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    expected = block(readme, "text").splitlines()
    if expected[-1] == "...":
        expected, found = expected[:-1], found[:len(expected) - 1]
    if found != expected:
        sys.exit("README.md says:\n" + "\n".join(expected) + "\nthe program says:\n" + "\n".join(found))


if __name__ == "__main__":
    {"extract": extract, "check": check}[sys.argv[1]](*sys.argv[2:])
