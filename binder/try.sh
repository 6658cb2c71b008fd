#!/usr/bin/env bash
# Try what can be tried of binder/ without conda: environment.yml's pip section in a clean virtual environment, then
# postBuild and start, on what is committed. Needs Python 3.11, git, make and a C++ compiler.
# Usage: binder/try.sh FOLDER
set -eu
mkdir -p "$1"
git -C "$(dirname "$0")/.." archive --prefix=repo/ HEAD | tar -x -C "$1"
cd "$1"
python3.11 -m venv env
. env/bin/activate
sed -n 's/^      - //p' repo/binder/environment.yml > requirements.txt
pip install -r requirements.txt
cd repo
binder/postBuild
binder/start python -c "
import horovod.tensorflow as hvd, seaicekit, seaicekit.lessons
hvd.init()
print('rank', hvd.rank(), 'of', hvd.size(), 'with seaicekit', seaicekit.__version__)
"
binder/start jupyter server extension list
