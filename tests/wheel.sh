#!/usr/bin/env bash
# Build the wheel, install it into an empty environment, and use it in a folder that is not a clone.
#
#   tests/wheel.sh [PYTHON]        takes minutes, mostly for pip
set -euo pipefail

python=${1:-python3.11}
clone=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH
cd "$place"

"$python" -m venv venv
PATH=$place/venv/bin:/usr/local/bin:/usr/bin:/bin
pip install --quiet --constraint "$clone/constraints.txt" build
python -m build --outdir dist "$clone" >build.log 2>&1 || { tail -n 20 build.log; exit 1; }
pip install --quiet --constraint "$clone/constraints.txt" torch==2.13.0
pip install --quiet --constraint "$clone/constraints.txt" dist/*.whl

mkdir user && cd user
where=$(python -c 'from zsbench.store.layout import PROJECT; print(PROJECT)')
[[ $where == "$place"/venv/* ]] || { echo "the workflow is read from $where, not from the wheel" >&2; exit 1; }
printf 'body,stars\n' >reviews.csv
for i in {1..30}; do printf 'A fine film %s,5\nA dull film %s,1\n' "$i" "$i"; done >>reviews.csv
zsbench init reviews.csv --labels negative,positive
zsbench run reviews.yaml --cores 2
test -s reports/reviews/index.html
zsbench run reviews.yaml --cores 2 --dry-run | grep -q "Nothing to be done"
zsbench init first
cd first
zsbench run --cores 2
test -s reports/first/index.html
zsbench run --cores 2 --dry-run | grep -q "Nothing to be done"
echo "the wheel works: init, run and report, of a file and of a new folder, where there is no clone"
