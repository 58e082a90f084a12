#!/usr/bin/env python3
"""Each rule of tools/check_layers.py is broken once and must be seen."""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import check_layers  # noqa: E402

HEADER = "#pragma once\n"


class CheckLayersTest(unittest.TestCase):
    def breaches(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
                with open(os.path.join(root, path), "wb") as file:
                    file.write(text if isinstance(text, bytes) else text.encode())
            return check_layers.Checker(root).run()

    def assert_breach(self, files, words):
        found = self.breaches(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])

    def test_good_tree(self):
        self.assertEqual(self.breaches({
            "shards/include/shardreel/error.h": HEADER + "#include <string>\n",
            "shards/reader.cpp": '#include <archive.h>\n#include "shardreel/error.h"\n',
            "loader/include/shardreel/loader.h": HEADER + "#include <shardreel/error.h>\n",
            "loader/base/a.h": HEADER,
            "loader/demux/unit.h": HEADER,
            "loader/window/clip.h": HEADER,
            "loader/decode/a.cpp": '#include <libavcodec/avcodec.h>\n#include "loader/demux/unit.h"\n',
            "loader/shuffle/a.h": HEADER + '#include "loader/base/a.h"\n#include "loader/window/clip.h"\n',
            "tests/loader/a.cpp": "#include <libavcodec/avcodec.h>\n",
        }), [])

    def test_breaches(self):
        cases = [
            ({"extra/a.h": HEADER}, "top of the tree"),
            ({"loader/base/a.h": HEADER + '#include "loader/memory/b.h"\n'}, "base does not include"),
            ({"loader/read/a.h": HEADER + '#include "loader/demux/unit.h"\n'}, "read does not include"),
            ({"loader/batch/a.h": HEADER + '#include "loader/window/clip_cutter.h"\n'}, "batch does not include"),
            ({"loader/media/a.h": HEADER + '#include "loader/pipeline/b.h"\n'}, "media does not include"),
            ({"loader/utils/a.h": HEADER + '#include "loader/base/b.h"\n'}, "not in LAYERS"),
            ({"shards/a.cpp": '#include "loader/base/b.h"\n'}, "stands alone"),
            ({"shards/a.cpp": '#include "shardreel/loader.h"\n'}, "own public headers"),
            ({"loader/base/a.cpp": '#include "tests/support/b.h"\n'}, "does not include tests"),
            ({"loader/batch/a.cpp": "#include <libavutil/frame.h>\n"}, "door"),
            ({"loader/decode/a.h": HEADER + "#include <libavutil/frame.h>\n"}, "door"),
            ({"loader/read/a.cpp": "#include <archive.h>\n"}, "door"),
            ({"loader/read/a.cpp": "#include <nlohmann/json.hpp>\n"}, "door"),
            ({"loader/base/a.h": HEADER + "#include <fmt/format.h>\n"}, "door"),
            ({"loader/base/a.cpp": "#include <boost/asio.hpp>\n"}, "door"),
            ({"loader/base/a.cpp": "#include <gtest/gtest.h>\n"}, "door"),
            ({"loader/include/shardreel/a.h": HEADER + '#include "loader/base/b.h"\n'}, "std only"),
            ({"loader/base/a.h": "int a;\n"}, "pragma once"),
            ({"loader/base/a.cpp": "#ifdef SHARDREEL_CUDA\n#endif\n"}, "fenced"),
            ({"loader/base/a.cpp": "//\n" * 501}, "501 lines"),
            ({"loader/base/a.cpp": "\tint a;\n"}, "tab"),
            ({"loader/base/a.cpp": "int a; \n"}, "white space"),
            ({"loader/base/a.cpp": "int a;"}, "line end"),
            ({"loader/base/a.cpp": "int a;\r\n"}, "white space"),
            ({"loader/base/a.cpp": "// TO" "DO: more\n"}, "unfinished"),
            ({"loader/base/a.cpp": b"// \xff\n"}, "not UTF-8"),
            ({f"loader/include/shardreel/a{i}.h": HEADER for i in range(15)}, "15 public headers"),
        ]
        for files, words in cases:
            with self.subTest(words=words, files=list(files)[:1]):
                self.assert_breach(files, words)


if __name__ == "__main__":
    unittest.main()
