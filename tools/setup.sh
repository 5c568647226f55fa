#!/usr/bin/env bash
# Makes this checkout ready on Debian 12+ or Ubuntu 24.04+: packages, environment.
# Says what it installs; does nothing when nothing is missing. Without root it leaves
# packages alone, lists what is missing, and goes on.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
die() { echo "setup: $1" >&2; echo "  fix: $2" >&2; exit 1; }

# What building and running cannot do without, and what only widens it.
needed=(clang llvm make gcc libbpf-dev libelf-dev zlib1g-dev libyaml-dev libbpf1 python3-venv)
wanted=(python3-bpfcc bpfcc-tools libbpf-tools bpftool bpftrace)
# What only the tests need (`setup.sh tests`): any kubectl, for patches; a real browser, for pictures of reports;
# valgrind and another allocator, to hold leaks against.
if [ "${1:-}" = tests ]; then
    wanted+=(valgrind libjemalloc2)
    command -v kubectl >/dev/null || wanted+=(kubernetes-client)
    command -v chromium chromium-browser google-chrome >/dev/null || wanted+=(chromium)
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

packages() {
    command -v dpkg-query >/dev/null || {
        say "not a Debian or Ubuntu: install by your own means what these packages hold: ${needed[*]} ${wanted[*]}"
        return 0
    }
    local package missing_needed=() missing_wanted=() available=() unavailable=()
    for package in "${needed[@]}"; do installed "$package" || missing_needed+=("$package"); done
    for package in "${wanted[@]}" $(headers); do installed "$package" || missing_wanted+=("$package"); done
    [ $((${#missing_needed[@]} + ${#missing_wanted[@]})) -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "not root, so no packages are installed. Missing: ${missing_needed[*]} ${missing_wanted[*]}"
        say "  to install them: sudo apt-get install ${missing_needed[*]} ${missing_wanted[*]}"
        return 0
    fi
    apt-get update -qq || say "apt-get update failed; going on with the lists at hand"
    for package in "${missing_wanted[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then available+=("$package"); else unavailable+=("$package"); fi
    done
    [ ${#unavailable[@]} = 0 ] || say "not to be had here, so left out: ${unavailable[*]}"
    [ $((${#missing_needed[@]} + ${#available[@]})) -gt 0 ] || return 0
    say "installing with apt-get: ${missing_needed[*]} ${available[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing_needed[@]}" "${available[@]}" >/dev/null ||
        die "apt-get could not install them" "apt-get install ${missing_needed[*]} ${available[*]}"
}

# bcc compiles nothing without kernel headers. The running kernel's own serve every program;
# without them any version serves programs that read no kernel structure.
headers() {
    [ -e "/lib/modules/$(uname -r)/build" ] && return 0
    compgen -G '/usr/src/linux-headers-*' >/dev/null && return 0
    if apt-cache show "linux-headers-$(uname -r)" >/dev/null 2>&1; then
        echo "linux-headers-$(uname -r)"
    elif grep -q ubuntu /etc/os-release; then
        echo linux-headers-generic
    else
        echo "linux-headers-$(dpkg --print-architecture)"
    fi
}

python() {
    local candidate
    for candidate in /usr/bin/python3 /usr/bin/python3.1[1-9]; do
        if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "$candidate"
            return 0
        fi
    done
    die "no Python 3.11 or newer in /usr/bin" "apt-get install python3.11 python3.11-venv (Debian 12, Ubuntu 24.04 and newer have it as python3)"
}

environment() {
    local want stamp=.venv/.setup
    want=$(cat requirements.lock pyproject.toml | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$want" ] || return 0
    local interpreter
    interpreter=$(python)
    if [ ! -x .venv/bin/python ]; then
        say "making .venv from $interpreter"
        "$interpreter" -m venv .venv || die "$interpreter cannot make an environment" "apt-get install python3-venv"
    fi
    say "installing the pinned requirements into .venv"
    .venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$want" >"$stamp"
}

# Servers that the tests start are unpacked into build/servers, never installed: installing would start
# them on this machine for good.
servers() {
    local package
    for package in "$@"; do
        [ ! -e "build/servers/$package" ] || continue
        command -v dpkg-deb >/dev/null || { say "no dpkg-deb, so without $package"; return 0; }
        say "unpacking $package into build/servers"
        mkdir -p build/servers/debs
        (cd build/servers/debs && apt-get download -qq "$package" >/dev/null 2>&1) ||
            { say "$package is not to be had here, so left out"; continue; }
        dpkg-deb -x build/servers/debs/"$package"_*.deb build/servers && touch "build/servers/$package"
    done
}

packages
environment
[ "${1:-}" != tests ] || servers prometheus prometheus-alertmanager
