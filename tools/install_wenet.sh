#!/usr/bin/env bash
# Installs WeNet from its source, for the interoperability tests. Nothing in osum imports it.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=../utils/parse_options.sh
. "$root/utils/parse_options.sh"
# shellcheck source=source.sh
. "$root/tools/source.sh"

source='' commit=''
tested='015469960db73eb19c49a48c020d5ac9db69bae5 of 2025-12-19, with the versions of constraints.txt'

usage="Usage: bash tools/install_wenet.sh --source FOLDER_OR_URL [--commit HASH]

  --source PLACE      a folder with WeNet's source, or a URL that git can clone
  --commit HASH       what to check out (default: what the source points to)
                      tested: $tested
  --help              this text

Copies the source to build/wenet and installs it from there into the environment of egs/osum/path.sh, without its
pins but with what its import needs: librosa, langid, openai-whisper."

parse_options "$@"
get_source "$source" "$commit" "$root/build/wenet"
echo "install_wenet.sh: tested with commit $tested"
# shellcheck source=../egs/osum/path.sh
. "$root/egs/osum/path.sh"

# torch 2.11 no longer has these names where one of WeNet's modules takes them from.
names='s/^(from torch.nn.modules.conv import .*), Union, (.*), Optional$/from typing import Optional, Union\n\1, \2/'
sed -i -E "$names" "$root/build/wenet/wenet/models/squeezeformer/conv2d.py"

python -m pip install --quiet --constraint "$root/tools/constraints.txt" librosa langid openai-whisper
python -m pip install --quiet --no-deps --editable "$root/build/wenet"
python -c 'import wenet.dataset.dataset, wenet.utils.init_model' ||
  die "wenet is installed but can't be imported (see above)"
echo "install_wenet.sh: wenet is installed and can be imported"
