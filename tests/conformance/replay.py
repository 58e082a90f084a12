#!/usr/bin/env python3
"""Replay the conformance vectors against Python webdataset, the reference: the vectors are checked
here, not a reader of ours. Exit 0: all agree, 1: some do not, 77: webdataset cannot be imported.
"""
import os
import sys
import tempfile

import reference
import vectors


def described(samples):
    return [(vectors.materialise(sample["key"]),
             [tuple(map(vectors.materialise, field)) for field in sample["fields"]])
            for sample in samples]


def check_archives(reader):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vector.tar")
        for file, vector in vectors.load("archives"):
            with open(path, "wb") as out:
                out.write(vectors.materialise(vector["archive"]))
            samples, errors = reference.read(reader, path)
            wanted = vector.get("reference", vector)
            same = (samples == described(wanted["samples"])
                    and bool(errors) == wanted.get("raises", False))
            yield f"{file}: {vector['name']!r}", same, f"{samples!r:.500} {errors!r:.300}"


def check_names():
    from webdataset.tariterators import base_plus_ext
    for file, vector in vectors.load("names"):
        name = vectors.materialise(vector["name"])
        key, field = base_plus_ext(name.decode("utf-8", "surrogateescape"))
        got = None if key is None else (reference.raw(key), reference.raw(field.lower()))
        expected = vector.get("reference", vector)
        wanted = None
        if "key" in expected:
            wanted = vectors.materialise(expected["key"]), vectors.materialise(expected["field"])
        yield f"{file}: {name!r}", got == wanted, repr(got)


def check_urls():
    from webdataset.shardlists import expand_urls
    for file, vector in vectors.load("urls"):
        os.environ.update(vector.get("environment", {}))
        try:
            got = expand_urls(vector["spec"])
        except Exception as problem:
            got = f"{type(problem).__name__}: {problem}"
        for name in vector.get("environment", {}):
            del os.environ[name]
        wanted = vector.get("reference", vector)
        same = isinstance(got, str) if wanted.get("error") else got == wanted.get("urls")
        yield f"{file}: {vector['spec']!r}", same, repr(got)


def main():
    package, reason = reference.import_webdataset()
    if package is None:
        print(f"SKIPPED: {reason}")
        return 77
    reader = reference.Webdataset(package)
    reference.bound_memory()
    failed = total = 0
    for checks in (check_archives(reader), check_names(), check_urls()):
        for name, same, got in checks:
            total += 1
            if not same:
                failed += 1
                print(f"DIFFERS {name}\n  the reference gives {got}")
    print(f"{total} vectors against {reader.name}: {failed} differ")
    return 1 if failed or total < 250 else 0


if __name__ == "__main__":
    sys.exit(main())
