"""Build the Python package for pip: a PEP 517 backend without requirements of its own.

CMake builds the extension (target shardreel_python) in build/python with Debian's libraries
(tools/install_packages.sh python), and this puts it into a wheel with the package's files.
"""

import base64
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(ROOT, "loader", "python", "shardreel")
BUILD = os.path.join(ROOT, "build", "python")


def _project(name):
    """A text of pyproject.toml's [project]; tomllib came with Python 3.11 only."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        return re.search(rf'^{name} = "(.*)"$', file.read(), re.MULTILINE).group(1)


def _metadata():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    return (f"Metadata-Version: 2.1\nName: {_project('name')}\nVersion: {_project('version')}\n"
            f"Summary: {_project('description')}\nLicense: Apache-2.0\n"
            f"Requires-Python: {_project('requires-python')}\n"
            f"Description-Content-Type: text/markdown\n\n{readme}")


def _build_extension():
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                 "-DSHARDREEL_TESTS=OFF", "-DSHARDREEL_BENCHMARKS=OFF",
                 f"-DPython3_EXECUTABLE={sys.executable}"]
    subprocess.run(configure, check=True)
    built = subprocess.run(["cmake", "--build", BUILD, "--target", "shardreel_python"], check=False)
    name = f"_shardreel{sysconfig.get_config_var('EXT_SUFFIX')}"
    path = os.path.join(BUILD, "python", "shardreel", name)
    if built.returncode != 0 or not os.path.exists(path):
        sys.exit("the extension was not built; as root, tools/install_packages.sh python installs what "
                 "it needs")
    return path


def _tag():
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"{python}-{python}-{platform}"


def _wheel_facts():
    return ("Wheel-Version: 1.0\nGenerator: shardreel\nRoot-Is-Purelib: false\n"
            f"Tag: {_tag()}\n")


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Called by pip before it builds; returns the folder's name."""
    info = f"shardreel-{_project('version')}.dist-info"
    os.makedirs(os.path.join(metadata_directory, info))
    for name, content in (("METADATA", _metadata()), ("WHEEL", _wheel_facts())):
        with open(os.path.join(metadata_directory, info, name), "w", encoding="utf-8") as file:
            file.write(content)
    return info


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Called by pip; returns the wheel's file name."""
    files = {}
    for name in sorted(os.listdir(PACKAGE)):
        if name.endswith((".py", ".pyi", ".typed")):
            files[f"shardreel/{name}"] = os.path.join(PACKAGE, name)
    extension = _build_extension()
    files[f"shardreel/{os.path.basename(extension)}"] = extension
    info = f"shardreel-{_project('version')}.dist-info"
    wheel = f"shardreel-{_project('version')}-{_tag()}.whl"
    record = []
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        def add(name, content):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr(name, content)

        for name, path in files.items():
            with open(path, "rb") as file:
                add(name, file.read())
        add(f"{info}/METADATA", _metadata().encode())
        add(f"{info}/WHEEL", _wheel_facts().encode())
        with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
            add(f"{info}/LICENSE", file.read())
        record.append(f"{info}/RECORD,,")
        archive.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    """Not offered: CMake and Debian's libraries are needed anyway, so clone the repository."""
    raise NotImplementedError("build from a clone of the repository")
