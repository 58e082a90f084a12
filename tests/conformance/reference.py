"""What the reference implementation makes of an archive.

Reads with the Python package `webdataset` where it can be imported (also from the source tree
named by $SHARDREEL_WEBDATASET), in the way its WebDataset class does, with a handler that goes on.
Else with `Model`, which stands on Python's tarfile in stream mode and on re, as webdataset does, and
knows nothing of shardreel.
"""
import os
import pathlib
import re
import resource
import signal
import sys
import tarfile

WANTED = "1.0.2"
PLACES = [os.environ.get("SHARDREEL_WEBDATASET", ""),
          str(pathlib.Path.home() / ".cache/shardreel-peers/webdataset/src")]
KEY = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
META = re.compile(r"__[^/]*__($|/)")
OWN = ("__key__", "__url__", "__local_path__")


class Hang(BaseException):
    """Not an Exception, so that no handler takes it for an ordinary error."""


def import_webdataset():
    """The package, or None and the reason why not."""
    for place in [None] + [p for p in PLACES if p and os.path.isdir(p)]:
        if place:
            sys.path.append(place)
        try:
            import webdataset
        except ImportError as problem:
            reason = f"webdataset cannot be imported ({problem})"
            continue
        if webdataset.__version__ == WANTED:
            return webdataset, ""
        reason = f"webdataset is {webdataset.__version__}; the vectors follow {WANTED}"
    return None, reason


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def lower(name):
    """A field's name, in hex, in Python's lower case."""
    return raw(bytes.fromhex(name).decode("utf-8", "surrogateescape").lower()).hex()


class Webdataset:
    def __init__(self, package):
        from webdataset import tariterators
        self.iterators = tariterators
        self.name = f"webdataset {package.__version__}, Python {sys.version.split()[0]}"

    def samples(self, path, errors):
        def go_on(problem):
            if not (isinstance(problem, ValueError) and "duplicate file name" in str(problem)):
                errors.append(f"{type(problem).__name__}: {problem}")
            return True

        with open(path, "rb") as stream:
            source = [{"url": path, "stream": stream, "local_path": path}]
            files = self.iterators.tar_file_expander(source, handler=go_on)
            for sample in self.iterators.group_by_keys(files, handler=go_on):
                yield sample["__key__"], [(k, v) for k, v in sample.items() if k not in OWN]


class Model:
    name = f"a model on Python {sys.version.split()[0]}'s tarfile (webdataset is not there)"

    @staticmethod
    def members(path, errors):
        try:
            with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
                for info in tar:
                    name = info.name
                    if not info.isreg() or META.match(name):
                        continue
                    if "/" not in name and name.startswith("__") and name.endswith("__"):
                        continue
                    try:
                        data = tar.extractfile(info).read()
                    except Exception as problem:
                        errors.append(repr(problem))
                        continue
                    yield name, data
                    tar.members = []
        except Exception as problem:
            errors.append(repr(problem))

    def samples(self, path, errors):
        key, fields = None, {}
        for name, value in self.members(path, errors):
            match = KEY.match(name)
            if not match:
                continue
            field = match.group(2).lower()
            if match.group(1) != key:
                if key is not None and not fields.get("__bad__"):
                    yield key, list(fields.items())
                key, fields = match.group(1), {}
            if field not in fields and field not in OWN:
                fields[field] = value
        if key is not None and not fields.get("__bad__"):
            yield key, list(fields.items())


def best():
    package, _ = import_webdataset()
    return Webdataset(package) if package else Model()


def read(reader, path, seconds=10):
    """(samples, errors): [(key, [(field, content)])] in bytes, and the errors that it raised."""
    def hang(_signal, _frame):
        raise Hang()

    samples, errors = [], []
    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        for key, fields in reader.samples(path, errors):
            samples.append((raw(key), [(raw(name), data) for name, data in fields]))
    except Hang:
        errors.append("hangs")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return samples, errors


def bound_memory(size=3 << 30):
    """A header may claim terabytes, and the reference believes it."""
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def unbound_memory():
    """For a child: it must know better; and a sanitizer's shadow is terabytes of addresses."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
