#!/usr/bin/env bash
# Makes an environment for each peer below build/peers, with the versions that lie beside this script:
#     benchmarks/serving/peers/install.sh [NAME …]
# torch, ONNX Runtime, numpy and whatever else a peer does not bring itself come from the project's .venv, so that all
# compute with the same libraries. llama_cpp is built from its source, which takes a C++ compiler and ten minutes;
# torchserve needs Java, 17 or later.
set -euo pipefail
cd "$(dirname "$0")/../../.."

project=$PWD/.venv/bin/python
here=benchmarks/serving/peers
folder=build/peers
shared=$("$project" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

install_peer() {
    local name=$1 environment=$folder/$1 packages
    if [ "$name" = torchserve ] && ! command -v java >/dev/null; then
        echo "peers: torchserve needs Java, 17 or later, and there is no java on the PATH" >&2
        return 1
    fi
    if cmp -s "$here/$name.txt" "$environment/installed.txt"; then
        return
    fi
    echo "peers: installing $name" >&2
    "$project" -m venv --clear --without-pip "$environment"
    "$project" -m pip --python "$environment" install --quiet --disable-pip-version-check -r "$here/$name.txt" || return 1
    packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$shared" >"$packages/project.pth" # behind the peer's own packages
    cp "$here/$name.txt" "$environment/installed.txt"
}

if [ $# = 0 ]; then
    set -- litserve bentoml torchserve ctranslate2 llama_cpp
fi
for name in "$@"; do
    install_peer "$name" || echo "peers: $name cannot be installed here; it is left out" >&2
done
