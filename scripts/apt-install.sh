#!/usr/bin/env bash
# Install one Debian package where that is allowed without asking: as root, or with a passwordless sudo.
#
#   scripts/apt-install.sh PACKAGE
#
# Exit code 0: installed. 1: not allowed here, or apt-get failed (then it has said why).
set -euo pipefail
package=$1

command -v apt-get >/dev/null || exit 1
if [[ $(id -u) == 0 ]]; then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    exit 1
fi

echo "Installing $package with apt-get …" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A stale third-party source makes `update` fail although the package can be had.
"${as_root[@]}" apt-get update >"$log" 2>&1 || true
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >>"$log" 2>&1 || {
    echo "apt-get install $package failed:" >&2
    { grep '^E:' "$log" || tail -n 5 "$log"; } | sed -E 's#[a-z]+://[^ ]+#…#g' >&2
    exit 1
}
