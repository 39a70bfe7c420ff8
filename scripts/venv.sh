#!/usr/bin/env bash
# Bring a virtual environment in step with the checkout.
#
#   scripts/venv.sh DIR [GROUP...]
#
# Installs the package (editable) and the named dependency groups of pyproject.toml into DIR, and does nothing
# where that has been done. DIR is made anew when it belongs to another Python or was made in another folder.
# PYTHON names the interpreter, python3 otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=$(pwd -P)/$1
shift

fail() {
    echo "error: $*" >&2
    exit 1
}

check_python() {
    command -v "$python" >/dev/null || fail "$python not found. Install Python 3.11 or newer, or name one: make … PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version 2>&1 || true) is too old: Python 3.11 or newer is needed. Name one: make … PYTHON=/path/to/python3.11"
}

# Debian ships `venv` without the pip it installs; the rest is in a package of its own.
check_venv_module() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    local package
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    [[ $("$python" -c 'import sys; print(sys.base_prefix)') == /usr ]] && scripts/apt-install.sh "$package" &&
        "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    fail "$python cannot make virtual environments: its venv or ensurepip module is missing. On Debian and Ubuntu: apt-get install $package"
}

is_current() {
    local version
    version=$("$python" -c 'import platform; print(platform.python_version())')
    [[ -x $venv/bin/python && -x $venv/bin/pip ]] &&
        grep -qxF "version = $version" "$venv/pyvenv.cfg" &&
        head -n 3 "$venv/bin/pip" | grep -qF "$venv/bin/python" &&
        "$venv/bin/python" -c '' 2>/dev/null
}

make_venv() {
    check_venv_module
    echo "Making the virtual environment ${venv##*/} …" >&2
    "$python" -m venv --clear "$venv"
    echo '*' >"$venv/.gitignore"
    # --group needs pip 25.1, Debian 12 brings 23.0.
    "$venv/bin/python" -m pip install -qq --upgrade 'pip>=25.1'
}

pip_is_current() {
    "$venv/bin/python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' 2>/dev/null
}

check_python
is_current || make_venv
pip_is_current || "$venv/bin/python" -m pip install -qq --upgrade 'pip>=25.1'

digest=$("$python" -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())')
done_before() { [[ $(cat "$venv/.installed-$1" 2>/dev/null) == "$digest" ]]; }

missing=()
arguments=()
done_before package || {
    missing+=(package)
    arguments+=(--editable .)
}
for group in "$@"; do
    done_before "$group" || {
        missing+=("$group")
        arguments+=(--group "$group")
    }
done
((${#missing[@]})) || exit 0

echo "Installing into ${venv##*/}: ${missing[*]} (a minute or two the first time) …" >&2
"$venv/bin/python" -m pip install -qq "${arguments[@]}" ||
    fail "pip could not install the above. Is the package index reachable? To see more: $venv/bin/python -m pip install ${arguments[*]}"
for part in "${missing[@]}"; do
    echo "$digest" >"$venv/.installed-$part"
done
