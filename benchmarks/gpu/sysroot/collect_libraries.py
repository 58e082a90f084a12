#!/usr/bin/env python3
"""Collect the shared libraries of a sysroot, with all that they need.

    benchmarks/gpu/sysroot/collect_libraries.py STAGE FOLDER --patchelf PROGRAM

Below STAGE packages are unpacked. What is in KEEP is copied, and finds its own libraries beside itself, wherever the
folder lies. Everything else becomes a stub: its name, its symbol versions and just the symbols that the kept ones
import, because Debian's libraries resolve all symbols when they are loaded. A stub that is called prints its name and
aborts, or gives the harmless answer of ANSWERS.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

# What programs link, by the name that the linker looks for.
LINKED = {"avcodec": "libavcodec.so.59", "avfilter": "libavfilter.so.8", "avformat": "libavformat.so.59",
          "avutil": "libavutil.so.57", "swscale": "libswscale.so.6", "swresample": "libswresample.so.4",
          "archive": "libarchive.so.13", "curl": "libcurl.so.4", "ssl": "libssl.so.3", "crypto": "libcrypto.so.3",
          "zimg": "libzimg.so.2", "hwy": "libhwy.so.1", "xxhash": "libxxhash.so.0", "sqlite3": "libsqlite3.so.0",
          "z": "libz.so.1", "bz2": "libbz2.so.1.0", "lzma": "liblzma.so.5", "fmt": "libfmt.so.9",
          "benchmark": "libbenchmark.so.1debian"}
# Names under which their CMake files know them.
ALSO = {"libfmt.so.9.1.0": "libfmt.so.9", "libbenchmark.so.1.7.1": "libbenchmark.so.1debian"}
# Real besides those: codecs that tests encode or decode with, and what archives and connections use.
KEEP = set(LINKED.values()) | {
    "libx264.so.164", "libx265.so.199", "libaom.so.3", "libdav1d.so.6", "libvpx.so.7", "libSvtAv1Enc.so.1",
    "libopus.so.0", "libnuma.so.1", "libzstd.so.1", "liblz4.so.1", "libnettle.so.8", "libacl.so.1", "libattr.so.1",
    "libsnappy.so.1", "libwebp.so.7", "libwebpmux.so.3", "libjpeg.so.62", "libnghttp2.so.14", "libidn2.so.0",
    "libunistring.so.2", "libpsl.so.5", "libbrotlidec.so.1", "libbrotlicommon.so.1"}
# The machine's own C library and compiler runtime.
HOST = re.compile(r"^(libc|libm|libdl|libpthread|librt|libresolv|libmvec|ld-linux-x86-64|libstdc\+\+|libgcc_s)\.so(\.\d+)*$")
# Of libraries that are called before anybody knows whether they are wanted.
ANSWERS = {"gnutls_global_init": 0, "gnutls_global_deinit": 0, "gme_identify_header": "", "openmpt_probe_file_header": 0,
           "openmpt_probe_file_header_without_filesize": 0, "xmlInitParser": 0, "xmlCleanupParser": 0,
           "libssh2_init": 0, "libssh2_exit": 0, "libssh2_version": "0", "RTMP_LibVersion": 0, "ldap_get_option": -1}
SYMBOL = re.compile(r"^\s*\d+:\s+[0-9a-f]+\s+(\d+|0x[0-9a-f]+)\s+(\w+)\s+(\w+)\s+\w+\s+(\S+)\s+(\S+)(?:\s.*)?$")
CALLED = r"""
#include <stdio.h>
#include <stdlib.h>
__attribute__((visibility("hidden"), noreturn)) void stub_called(const char* what) {
  fprintf(stderr, "sysroot: %s was called, but the library is only a stub here\n", what);
  abort();
}
"""


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def needed(path):
    return re.findall(r"\(NEEDED\).*?\[(.*?)\]", run("readelf", "-dW", path))


def symbols(path):
    """What it imports, (name, version), and what it exports, with type and size."""
    imports, exports = set(), {}
    for line in run("readelf", "--dyn-syms", "-W", path).splitlines():
        match = SYMBOL.match(line)
        if not match or match[3] == "LOCAL":
            continue
        name, _, version = match[5].replace("@@", "@").partition("@")
        if match[4] == "UND":
            imports.add((name, version))
        else:
            exports[name, version] = (match[2], int(match[1], 0))
    return imports, exports


def stub_code(soname, wanted):
    """Assembler for its symbols."""
    lines = [".text"]
    for number, ((name, _), (kind, size)) in enumerate(sorted(wanted.items())):
        if kind in ("OBJECT", "TLS"):
            lines += [".section .data", ".balign 32", f".globl {name}", f".type {name},@object",
                      f".size {name},{max(size, 8)}", f"{name}: .zero {max(size, 8)}", ".text"]
            continue
        lines += [f".globl {name}", f".type {name},@function", f"{name}:"]
        answer = ANSWERS.get(name)
        if isinstance(answer, int):
            lines += [f"mov ${answer},%eax", "ret"]
            continue
        text = f"{soname}: {name}" if answer is None else answer
        lines += [f"lea .L{number}(%rip),%r{'di' if answer is None else 'ax'}",
                  "jmp stub_called" if answer is None else "ret",
                  ".section .rodata", f'.L{number}: .asciz "{text}"', ".text"]
    return "\n".join(lines + ['.section .note.GNU-stack,"",@progbits']) + "\n"


def version_script(wanted):
    versions = {}
    for name, version in wanted:
        versions.setdefault(version, set()).add(name)
    plain = versions.pop("", set())
    script = "".join(f"{version} {{ global: {' '.join(name + ';' for name in sorted(names))} }};\n"
                     for version, names in sorted(versions.items()))
    if script or not plain:
        return script
    return "{ global: " + " ".join(name + ";" for name in sorted(plain)) + " local: *; };\n"


def make_stub(soname, wanted, path):
    with tempfile.TemporaryDirectory() as folder:
        files = {"stub.s": stub_code(soname, wanted), "called.c": CALLED, "versions": version_script(wanted)}
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wl,-z,now", f"-Wl,-soname,{soname}", "-Wl,--as-needed",
                   f"{folder}/called.c", f"{folder}/stub.s", "-o", path]
        if files["versions"]:
            command.append(f"-Wl,--version-script={folder}/versions")
        subprocess.run(command, check=True)
        subprocess.run(["strip", "--strip-unneeded", path], check=True)


def libraries_below(stage):
    """Path by name."""
    found = {}
    for folder, _, files in os.walk(stage):
        for path in (os.path.join(folder, name) for name in files if ".so" in name):
            if os.path.islink(path):
                continue
            with open(path, "rb") as file:
                if file.read(4) != b"\x7fELF":
                    continue
            soname = re.search(r"\(SONAME\).*?\[(.*?)\]", run("readelf", "-dW", path))
            if soname:
                found.setdefault(soname[1], path)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage")
    parser.add_argument("folder")
    parser.add_argument("--patchelf", required=True)
    options = parser.parse_args()
    where = libraries_below(options.stage)
    kept, stubs, queue = {}, set(), sorted(LINKED.values())
    while queue:
        name = queue.pop()
        if name in kept or name in stubs or HOST.match(name):
            continue
        if name not in where:
            sys.exit(f"collect_libraries: {name} is needed, and in none of the packages")
        if name in KEEP:
            kept[name] = where[name]
            queue += needed(where[name])
        else:
            stubs.add(name)
    imports = {name: symbols(path)[0] for name, path in kept.items()}
    for name, path in kept.items():
        target = os.path.join(options.folder, name)
        shutil.copyfile(path, target)
        os.chmod(target, 0o755)
        subprocess.run(["strip", "--strip-unneeded", target], check=True)
        subprocess.run([options.patchelf, "--set-rpath", "$ORIGIN", target], check=True)
    for name in sorted(stubs):
        exports = symbols(where[name])[1]
        users = [user for user, path in kept.items() if name in needed(path)]
        wanted = {symbol: exports[symbol] for user in users for symbol in imports[user] if symbol in exports}
        make_stub(name, wanted, os.path.join(options.folder, name))
    for name, target in list(ALSO.items()) + [(f"lib{short}.so", name) for short, name in LINKED.items()]:
        os.symlink(target, os.path.join(options.folder, name))
    print(f"{len(kept)} libraries, {len(stubs)} stubs")


main()
