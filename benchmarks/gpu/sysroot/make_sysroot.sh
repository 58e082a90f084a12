#!/usr/bin/env bash
# Pack the libraries that shardreel is built against, for a machine with a compiler, CMake and glibc 2.36 or later, but
# no packages and no network.
#
#   benchmarks/gpu/sysroot/make_sysroot.sh FOLDER
#
# For Debian 12 on x86-64; downloads packages as apt checks them, installs nothing. Writes FOLDER/sysroot.tar.xz (20 to
# 30 MB, to be unpacked in the checkout's root, where it becomes .sysroot/) and FOLDER/sysroot.lock (packages, SHA-256).
# Libraries that shardreel cannot reach (of X11, of SVG, of speech codecs) are replaced by stubs that satisfy the
# linker and abort with a message when they are called.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(realpath -m "${1:?usage: make_sysroot.sh FOLDER}")
cache=$folder/cache
mkdir -p "$cache/debs"
stage=$(mktemp -d "$cache/stage.XXXXXX")
trap 'rm -rf "$stage"' EXIT

packages=(libavcodec-dev libavfilter-dev libavformat-dev libavutil-dev libswscale-dev libffmpeg-nvenc-dev
  libarchive-dev zlib1g-dev libbz2-dev liblzma-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev libzimg-dev libhwy-dev
  libxxhash-dev libfmt-dev libcli11-dev nlohmann-json3-dev libboost1.81-dev libgtest-dev libgmock-dev libbenchmark-dev
  pybind11-dev)
tools=(libboost1.81-tools-dev patchelf) # bcp and patchelf: used here, not shipped
# Boost's headers that are included; bcp adds what those include.
boost=(boost/asio.hpp boost/asio/ssl.hpp boost/beast.hpp boost/version.hpp)
# The machine's own, and what is only data.
never='^(libc6|libc6-dev|libc-dev-bin|libc-bin|debconf|linux-libc-dev|libgcc-.*-dev|libstdc\+\+-.*-dev|libstdc\+\+6|libgcc-s1|gcc-.*-base|libasan.*|libitm1|liblsan0|libtsan2|libubsan1|libquadmath0|fonts-.*|fontconfig.*|shared-mime-info|libx11-data|libgdk-pixbuf2.0-common|libdrm-common|libthai-data|libzvbi-common|rpcsvc-proto|libtirpc.*|libnsl.*|libcrypt-dev|libcrypt1|libsasl2-modules-db|libpam.*|perl.*|python3.*|libpython3.*|libicu-dev|icu-devtools)$'

# All that they need on an empty system, whatever is installed here.
: >"$cache/empty"
apt-get -s -q -o Dir::State::status="$cache/empty" install --no-install-recommends "${packages[@]}" |
  awk '/^Inst /{print $2}' | sed 's/:amd64$//' | sort -u | grep -vxE "$never" >"$cache/wanted"
printf '%s\n' "${tools[@]}" >>"$cache/wanted"
echo "downloading $(wc -l <"$cache/wanted") packages" >&2
(cd "$cache/debs" && xargs -a ../wanted apt-get -q -o APT::Sandbox::User=root download >/dev/null)
while read -r package; do
  deb=$(find "$cache/debs/" -name "${package}_*.deb" -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
  dpkg-deb -x "$deb" "$stage"
  echo "$(basename "$deb") $(sha256sum <"$deb" | cut -d' ' -f1)"
done <"$cache/wanted" | sort >"$folder/sysroot.lock"

root=$stage/sysroot
libraries=$root/usr/lib/x86_64-linux-gnu
mkdir -p "$root/usr/include" "$libraries/cmake" "$root/usr/share" "$root/usr/lib/cmake"
for header in "$stage"/usr/include/*; do
  case $(basename "$header") in boost | x86_64-linux-gnu) ;; *) cp -a "$header" "$root/usr/include/" ;; esac
done
# Only a compiler of Debian's looks into the folder of its architecture.
for header in "$stage"/usr/include/x86_64-linux-gnu/{libav*,libsw*,libpostproc,curl,openssl}; do
  cp -a "$header" "$stage/merged" && mkdir -p "$root/usr/include/$(basename "$header")"
  cp -a "$stage/merged/." "$root/usr/include/$(basename "$header")/"
  rm -rf "$stage/merged"
done
"$stage/usr/bin/bcp" --boost="$stage/usr/include" "${boost[@]}" "$root/usr/include" >"$cache/bcp.log" 2>&1
rm -rf "$root"/usr/include/{libs,doc,Jamroot} "$root"/usr/include/*.cpp
cp -a "$stage/usr/share/cmake" "$root/usr/share/"
cp -a "$stage/usr/lib/cmake/pybind11" "$root/usr/lib/cmake/"
cp -a "$stage"/usr/lib/x86_64-linux-gnu/cmake/{GTest,Boost*,boost_headers*,fmt,benchmark} "$libraries/cmake/"
cp -a "$stage"/usr/lib/x86_64-linux-gnu/lib{gtest,gmock,benchmark_main}*.a "$libraries/"
python3 "$here/collect_libraries.py" "$stage" "$libraries" --patchelf "$stage/usr/bin/patchelf" >&2
cp "$here/shardreel-sysroot.cmake" "$folder/sysroot.lock" "$root/"

# The same packages give the same bytes.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 --transform 's|^sysroot|.sysroot|S' \
  -C "$stage" -cf - sysroot | xz -6 -T1 >"$folder/sysroot.tar.xz"
du -sh "$folder/sysroot.tar.xz" >&2
