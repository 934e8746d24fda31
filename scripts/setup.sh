#!/usr/bin/env bash
# Makes .venv from requirements/development.txt, and sees that nginx (needed) and Tesseract (wished for) are there.
# Done once, and again whenever the requirements change. PYTHON names the Python 3.11 to use.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
requirements=requirements/development.txt
stamp=$venv/.setup
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nginx, off an ordinary user's path

say() { printf 'setup: %s\n' "$*"; }

stop() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

is_3_11() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.11; do
        if is_3_11 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    stop "${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1 || true): ogiri needs Python 3.11, like its image." \
        "Install it and name it: make setup PYTHON=/path/to/python3.11"
}

# Runs a command as root, or fails where nobody has allowed that.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root true || return 1
    say "installing $*"
    as_root apt-get update -qq || true # an old list may do
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

make_venv() {
    local python
    if [ ! -x $venv/bin/python ] || ! is_3_11 $venv/bin/python; then
        python=$(find_python)
        say "making $venv with $("$python" --version)"
        "$python" -m venv --clear $venv || stop "$python cannot make $venv (on Debian: apt-get install python3.11-venv)"
    fi
    say "installing $requirements into $venv (about 6 GB the first time)"
    # Modules are compiled as they are imported: most never are.
    $venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r $requirements
    cp $requirements $stamp
}

if ! cmp -s $requirements $stamp; then
    make_venv
fi

if ! command -v nginx >/dev/null; then
    apt_install nginx-light ||
        stop "nginx is missing and may not be installed from here: apt-get install nginx-light (or: brew install nginx)"
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --quiet --now nginx || true # only the program is wanted, not a server on port 80
    fi
fi

if ! command -v tesseract >/dev/null; then
    apt_install tesseract-ocr tesseract-ocr-jpn ||
        say "Tesseract is missing: no text is read from pictures (apt-get install tesseract-ocr tesseract-ocr-jpn)"
fi
