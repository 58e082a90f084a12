#!/usr/bin/env python3
"""Check the rules that keep the tree's structure; print each breach as FILE:LINE: RULE.

    tools/check_layers.py [ROOT]

What is checked: the direction of includes between layers, the one door of every third-party library,
std-only public headers and their size, the length of files, `#pragma once`, the look of the text, and
the folders at the top. docs/architecture.md gives the reasons.
"""

import os
import re
import sys

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "pyproject.toml",
             "loader", "shards", "tools", "tests", "benchmarks", "docs", "build"}
SOURCE_FOLDERS = ("shards", "loader", "tools", "tests", "benchmarks")
CODE = (".h", ".cpp", ".cu")
TEXT = CODE + (".py", ".sh", ".txt", ".cmake", ".in")

MAX_LINES = 500
MAX_PUBLIC_HEADERS = 14
MAX_PUBLIC_LINES = 1300

# A layer may include those of a lower number; the stages (4) see each other only where STAGE_VIEWS says.
LAYERS = {"base": 0, "memory": 1, "device": 2, "media": 3, "read": 4, "demux": 4, "decode": 4,
          "window": 4, "shuffle": 4, "batch": 4, "pipeline": 5, "python": 6}
# What a stage may see of another: the value that is handed over, and the plan that instructs.
STAGE_VIEWS = {
    "demux": {"loader/window/window_plan.h"},
    # Packets are judged by the same eyes that planned for them.
    "decode": {"loader/demux/unit.h", "loader/demux/video_file.h", "loader/demux/picture_sizes.h",
               "loader/window/clip.h"},
    "window": {"loader/demux/unit.h", "loader/decode/video_decoder.h"},
    "shuffle": {"loader/window/clip.h"},
    "batch": {"loader/window/clip.h"},
}

# Third parties: who begins with this may be included by files that match.
DOORS = [
    (r"lib(av|sw)\w+/", r"loader/(media/|(demux|decode)/\w+\.cpp$)|tools/(main\.cpp|pack/)"),
    (r"archive(_entry)?\.h$", r"shards/(\w+\.cpp|archive_handles\.h)$|tools/main\.cpp"),
    (r"(zlib|bzlib|lzma|zstd)\.h$", r"shards/\w+\.(cpp|h)$"),
    (r"openssl/", r"shards/sha256\.cpp$|loader/read/http/sigv4\.cpp$"),
    (r"zimg\.h$", r"loader/media/|tools/main\.cpp"),
    (r"hwy/", r"loader/media/"),
    (r"nlohmann/", r"loader/read/http/aws_credentials\.cpp$|loader/pipeline/(options\w*\.(cpp|h)|\w*(report|filter|plan|state)\w*\.cpp)$|tools/|shards/\w*(index|manifest)\w*\.cpp$"),
    (r"curl/", r"loader/read/http/|tools/main\.cpp"),
    (r"boost/asio", r"loader/(read|pipeline)/"),
    (r"boost/", r"loader/(read|pipeline)/|tools/main\.cpp"),
    (r"fmt/", r"\.cpp$"),
    (r"xxhash\.h$", r"tools/|loader/(\w+/)+\w+\.cpp$|shards/shard_i\w+\.cpp$"),
    (r"sqlite3\.h$", r"tools/commands/companion_\w+\.cpp$"),
    (r"CLI/", r"tools/"),
    (r"cuda|nv", r"loader/device/cuda/|loader/decode/nvdec|loader/base/trace_range\.cpp$"),
    (r"(gtest|gmock)/", r"$^"),
    (r"benchmark/", r"$^"),
]
TESTS = re.compile(r"(tests|benchmarks)/")
INCLUDE = re.compile(r'\s*#\s*include\s+[<"]([^>"]+)[>"]')


class Checker:
    def __init__(self, root):
        self.root = root
        self.breaches = []

    def breach(self, path, line, rule):
        self.breaches.append(f"{path}:{line}: {rule}")

    def files(self):
        for folder in SOURCE_FOLDERS:
            for at, folders, names in os.walk(os.path.join(self.root, folder)):
                folders[:] = sorted(f for f in folders if f not in ("build", "__pycache__", "corpus"))
                for name in sorted(names):
                    yield os.path.relpath(os.path.join(at, name), self.root)

    def check_tree(self):
        for name in sorted(os.listdir(self.root)):
            if not name.startswith(".") and name not in TOP_LEVEL:
                self.breach(name, 1, "no other file or folder belongs at the top of the tree")

    def check_text(self, path, raw):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.breach(path, 1, "not UTF-8")
            return None
        lines = text.split("\n")
        if text and not text.endswith("\n"):
            self.breach(path, len(lines), "no line end at the end")
        if len(lines) - 1 > MAX_LINES:
            self.breach(path, MAX_LINES, f"{len(lines) - 1} lines; at most {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            if "\t" in line:
                self.breach(path, number, "tab")
            if line != line.rstrip():
                self.breach(path, number, "white space at the end of the line")
            if re.search(r"\b(TO" r"DO|FIX" r"ME)\b", line):
                self.breach(path, number, "unfinished work is an issue, not a comment")
        return lines

    def check_door(self, path, number, included):
        if TESTS.match(path):
            return
        for prefix, places in DOORS:
            if re.match(prefix, included):
                if not re.search(places, path):
                    self.breach(path, number, f"<{included}> stays behind its door ({places})")
                return

    def check_direction(self, path, number, included):
        parts, target = path.split("/"), included.split("/")
        if parts[0] == "shards" and target[0] in ("loader", "tools"):
            self.breach(path, number, f"shards/ stands alone; not {included}")
        if parts[0] == "shards" and target[0] == "shardreel":
            if not os.path.exists(os.path.join(self.root, "shards/include", included)):
                self.breach(path, number, f"shards/ sees its own public headers only; not {included}")
        if target[0] in ("tests", "tools", "benchmarks") and parts[0] != target[0] and not TESTS.match(path):
            self.breach(path, number, f"the product does not include {included}")
        if parts[0] != "loader" or len(parts) < 3 or target[0] != "loader" or parts[1] == "include":
            return
        own, other = LAYERS.get(parts[1]), LAYERS.get(target[1])
        if own is None or other is None:
            self.breach(path, number, f"a layer that is not in LAYERS ({included})")
        elif parts[1] != target[1] and (other > own or other == own and included not in STAGE_VIEWS.get(parts[1], ())):
            self.breach(path, number, f"{parts[1]} does not include {included}")

    def check_code(self, path, lines):
        public = "/include/shardreel/" in path
        # Highway's -inl.h are included once for each instruction set.
        if path.endswith(".h") and not path.endswith("-inl.h") and "#pragma once" not in lines:
            self.breach(path, 1, "no #pragma once")
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if match:
                included = match.group(1)
                if public and ("/" in included or included.endswith(".h")) and not included.startswith("shardreel/"):
                    self.breach(path, number, f"public headers include std only; not {included}")
                self.check_door(path, number, included)
                self.check_direction(path, number, included)
            if re.match(r"\s*#\s*if.*SHARDREEL_CUDA", line) and not path.endswith("device_registry.cpp"):
                self.breach(path, number, "files are left out of a build, not fenced inside")

    def check_public_size(self, public):
        lines = sum(public.values())
        if len(public) > MAX_PUBLIC_HEADERS or lines > MAX_PUBLIC_LINES:
            self.breach("loader/include/shardreel", 1,
                        f"{len(public)} public headers of {lines} lines; at most {MAX_PUBLIC_HEADERS} of {MAX_PUBLIC_LINES}")

    def run(self):
        self.check_tree()
        public = {}
        for path in self.files():
            if not path.endswith(TEXT):
                continue
            with open(os.path.join(self.root, path), "rb") as file:
                lines = self.check_text(path, file.read())
            if lines is None or not path.endswith(CODE):
                continue
            self.check_code(path, lines)
            if "/include/shardreel/" in path and path.endswith(".h"):
                public[path] = len(lines) - 1
        self.check_public_size(public)
        return self.breaches


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    breaches = Checker(root).run()
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
