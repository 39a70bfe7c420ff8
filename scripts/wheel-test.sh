#!/usr/bin/env bash
# Run the tests on the wheel in dist/, installed into a fresh .venv-wheel.
#
#   scripts/wheel-test.sh [PYTEST ARGUMENTS...]
#
# They run in a temporary copy of everything but governor/, so that only the wheel can be imported. With
# SDK=oldest, the SDK is the oldest release that pyproject.toml allows; else the newest there is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$(pwd -P)
venv=$root/.venv-wheel
wheel=("$root"/dist/claude_governor-*.whl)
[[ -f ${wheel[0]} ]] || {
    echo "error: no wheel in dist/. Run: make wheel" >&2
    exit 1
}

echo "Installing ${wheel[0]##*/} and the test group into ${venv##*/} …" >&2
"${PYTHON:-python3}" -m venv --clear "$venv"
echo '*' >"$venv/.gitignore"
"$venv/bin/python" -m pip install -qq --upgrade 'pip>=25.1'
sdk=()
if [[ ${SDK:-newest} == oldest ]]; then
    sdk=("anthropic==$(sed -n 's/^ *"anthropic>=\([0-9.]*\),.*/\1.*/p' pyproject.toml)")
fi
"$venv/bin/python" -m pip install -qq "${wheel[0]}" "${sdk[@]}" --group test
"$venv/bin/python" -m pip list 2>/dev/null | grep '^anthropic ' >&2

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for part in tests examples benchmarks docs policies pricing README.md CHANGELOG.md LICENSE Makefile pyproject.toml; do
    [[ ! -e $part ]] || cp -R "$part" "$copy/"
done

cd "$copy"
"$venv/bin/python" - "$venv" <<'END'
import pathlib
import sys

import governor

place = pathlib.Path(governor.__path__[0])
if not place.is_relative_to(sys.argv[1]):
    sys.exit(f"error: governor comes from {place}, not from the wheel")
END
"$venv/bin/python" -m pytest "$@"
