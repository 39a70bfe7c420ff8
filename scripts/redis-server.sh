#!/usr/bin/env bash
# Make sure that the tests find a redis-server (or valkey-server) of version 7 or newer.
#
# Looks at REDIS_SERVER and PATH, then tries the system's package manager where that is allowed. Without one it
# says how to get it and succeeds (the Redis tests are skipped), or fails where CI is set. Tests start servers of
# their own on free ports; a service that the package may have started is never used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

is_recent() {
    local version
    version=$("$1" --version 2>/dev/null | sed -nE 's/.*[ =]v=([0-9]+)\..*/\1/p')
    [[ -n $version && $version -ge 7 ]]
}

found() {
    local name
    for name in "${REDIS_SERVER:-}" redis-server valkey-server; do
        [[ -n $name ]] && command -v "$name" >/dev/null && is_recent "$name" && return
    done
    return 1
}

found && exit
scripts/apt-install.sh redis-server && found && exit

old=$(command -v redis-server || true)
cat >&2 <<END
${old:+$old is older than version 7. }No redis-server of version 7 or newer was found.
  Debian, Ubuntu:  apt-get install redis-server      Fedora:  dnf install valkey      macOS:  brew install redis
  or name one:     REDIS_SERVER=/path/to/redis-server make test
END
if [[ -n ${CI:-} ]]; then
    echo "error: CI is set, and there the Redis tests must run." >&2
    exit 1
fi
echo "Going on without: the Redis tests will be skipped." >&2
