#!/usr/bin/env python3
"""Check that what several tasks packed holds the same members as what one packed.

    pack_merged.py ALONE TASKS COUNT
"""

import json
import os
import sys
import tarfile


def members(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".tar"):
            with tarfile.open(os.path.join(folder, name)) as tar:
                for info in tar:
                    assert info.name not in found, f"{info.name} is doubled"
                    found[info.name] = tar.extractfile(info).read()
    return found


alone, tasks, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
one, many = members(alone), members(tasks)
assert list(one) == list(many), "other members, or another order"
assert one == many, "other contents"
with open(os.path.join(tasks, "dataset.json"), encoding="utf-8") as file:
    manifest = json.load(file)
numbers = {shard["name"].split("-")[1] for shard in manifest["shards"]}
assert numbers == {f"{i:04}" for i in range(count)}, numbers
assert not [name for name in os.listdir(tasks) if name.startswith(".")]
print(f"{count} tasks: {manifest['samples']} samples, {len(many)} members in {len(manifest['shards'])} shards, "
      f"{manifest['bytes']} bytes; the same as one task packs")
