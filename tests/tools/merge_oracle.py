#!/usr/bin/env python3
"""What Python webdataset gives for runs of shards, with a handler that goes on.

  merge_oracle.py RUN...   RUN = shards joined by commas; prints "run" and its samples for each

Exits with 77 where webdataset cannot be imported.
"""
import os
import sys

sys.path.append(os.path.expanduser("~/.cache/shardreel-peers/webdataset/src"))
try:
    from webdataset.handlers import ignore_and_continue
    from webdataset.tariterators import group_by_keys, tar_file_expander
except ImportError as problem:
    print(problem)
    sys.exit(77)


def sources(paths):
    for path in paths:
        try:
            yield {"url": path, "stream": open(path, "rb")}
        except OSError:
            continue


for run in sys.argv[1:]:
    print("run")
    files = tar_file_expander(sources(run.split(",")), handler=ignore_and_continue)
    for sample in group_by_keys(files, handler=ignore_and_continue):
        fields = (f"{name}={value.decode('latin-1')[:20]}:{len(value)}" for name, value in sample.items()
                  if not name.startswith("__"))
        print(sample["__key__"], *fields)
