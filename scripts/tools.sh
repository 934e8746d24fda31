#!/usr/bin/env bash
# Makes build/tools from requirements/tools.txt: linters of templates and policies, SAM, and AWS's runtime for Lambdas.
# Only tests use them, so they are no part of .venv. Done once, and again whenever the requirements change.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=build/tools
python=${PYTHON:-python3}
if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi # tests run AWS's runtime with the packages of both
requirements=requirements/tools.txt
stamp=$venv/.tools

if cmp -s $requirements $stamp; then
    exit 0
fi
echo "tools: installing $requirements into $venv (about 600 MB)"
"$python" -m venv --clear $venv
$venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --no-deps -r $requirements
cp $requirements $stamp
