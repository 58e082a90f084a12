#!/usr/bin/env bash
# Install the Debian packages that shardreel needs and that are not there yet; quiet when nothing is missing.
#
#   tools/install_packages.sh build        what building and running needs
#   tools/install_packages.sh python       what the Python package needs besides
#   tools/install_packages.sh train        what tools/train_example.py needs: the above, and torch
#   tools/install_packages.sh test         what tests and lint need besides
#   tools/install_packages.sh full         what `tests/run.sh --full` needs besides (clang's runtimes, real servers)
#   tools/install_packages.sh peers        what benchmarks/run.py and shuffle_memory.py compare with and draw
set -euo pipefail

build=(
  build-essential cmake ninja-build pkg-config ccache git ca-certificates
  libarchive-dev libavformat-dev libavcodec-dev libavfilter-dev libavutil-dev libswscale-dev
  libzimg-dev libhwy-dev libboost1.81-dev nlohmann-json3-dev libcli11-dev libfmt-dev libxxhash-dev zlib1g-dev
  libcurl4-openssl-dev libbz2-dev liblzma-dev libssl-dev libsqlite3-dev
  ffmpeg python3
)
python=(python3-dev pybind11-dev python3-numpy python3-pip python3-venv)
train=(python3-torch)
test=(libgtest-dev libgmock-dev libbenchmark-dev clang-format-14 shellcheck bzip2 xz-utils zstd libffmpeg-nvenc-dev)
full=(
  clang-14 clang-tidy-14 libclang-rt-14-dev llvm-14
  nginx-light libnginx-mod-http-lua openssl ceph-mon ceph-osd radosgw ceph-common
  swift-proxy swift-account swift-container swift-object memcached
)

peers=(
  python3-numpy python3-torch python3-av python3-opencv python3-braceexpand python3-yaml python3-matplotlib
)

case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  python) wanted=("${build[@]}" "${python[@]}") ;;
  train) wanted=("${build[@]}" "${python[@]}" "${train[@]}") ;;
  test) wanted=("${build[@]}" "${python[@]}" "${test[@]}") ;;
  full) wanted=("${build[@]}" "${python[@]}" "${test[@]}" "${full[@]}") ;;
  peers) wanted=("${build[@]}" "${peers[@]}") ;;
  *) echo "usage: $0 build|python|train|test|full|peers" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$state" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "These Debian packages are missing; install them as root and run this again:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing from Debian: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
