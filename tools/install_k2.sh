#!/usr/bin/env bash
# Builds k2 from its source against the torch of the environment. Nothing in osum imports it.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=../utils/parse_options.sh
. "$root/utils/parse_options.sh"
# shellcheck source=source.sh
. "$root/tools/source.sh"

source='' commit='' nj=''
tested='a CPU build against torch 2.11.0 has been seen to work, of a commit that was not noted; CI builds none'

usage="Usage: bash tools/install_k2.sh --source FOLDER_OR_URL [--commit HASH] [--nj N]

  --source PLACE      a folder with k2's source, or a URL that git can clone
  --commit HASH       what to check out (default: what the source points to)
                      tested: $tested
  --nj N              parallel compilers (default: the CPU cores); each takes 1 to 2 GB
  --help              this text

Copies the source to build/k2, builds it for the GPU if torch sees one and nvcc is there, else for the CPU, and
installs it into the environment of egs/osum/path.sh. Needs a C++17 compiler; k2's build fetches its C++ dependencies.
k2 works only with exactly the torch that it was built with: build it again after changing torch."

parse_options "$@"
nj=${nj:-$(nproc)}
require_number nj "$nj" 1
get_source "$source" "$commit" "$root/build/k2"
echo "install_k2.sh: tested: $tested"
# shellcheck source=../egs/osum/path.sh
. "$root/egs/osum/path.sh"

sees_gpu() { command -v nvcc >/dev/null && python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; }
cuda=OFF
if sees_gpu; then cuda=ON; fi
echo "install_k2.sh: building with CUDA $cuda, $(python -c 'import torch; print("torch", torch.__version__)')"

python -m pip install --quiet 'cmake<4' setuptools wheel # k2's dependencies ask for policies that cmake 4 dropped
K2_CMAKE_ARGS="-DK2_WITH_CUDA=$cuda -DCMAKE_BUILD_TYPE=Release" \
  K2_MAKE_ARGS="-j$nj" python -m pip install --no-build-isolation --no-deps "$root/build/k2" ||
  die "the build failed (see above)"
cd / # so that the installed package is imported, not the source folder
python -c 'import k2, k2.version; print("k2", k2.version.__version__)' ||
  die "k2 is built but can't be imported (see above)"
echo "install_k2.sh: k2 is installed and can be imported"
