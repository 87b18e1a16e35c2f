# What scripts/try and scripts/test share: saying what they do, and installing what is missing. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*" >&2; }
cannot() {
    printf 'cannot go on: %s\n' "$*" >&2
    exit 2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        cannot "'$*' needs root: run this as root or install sudo"
    fi
}

# install PROGRAM PACKAGE WHY: nothing if the program is there.
install() {
    local program=$1 package=$2 why=$3
    if command -v "$program" >/dev/null; then
        return
    fi
    say "installing $package: $why"
    command -v apt-get >/dev/null || cannot "$program is missing ($why) and there is no apt-get to install $package with"
    if [ -z "${lists_are_fresh:-}" ]; then
        as_root apt-get update -qq || say "apt-get update failed: trying with the lists that are there"
        lists_are_fresh=1
    fi
    # A package that brings a service must not start it here.
    local policy=/usr/sbin/policy-rc.d
    local made_policy=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
        made_policy=1
    fi
    local installed=1
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$package" >&2 || installed=
    if [ -n "$made_policy" ]; then
        as_root rm -f "$policy"
    fi
    if [ -z "$installed" ] || ! command -v "$program" >/dev/null; then
        cannot "$package could not be installed ($why)"
    fi
}

# Rust links with cc, and one package (the allocator) is C: no library beyond libc, no cmake.
build_tools() {
    install cc build-essential "cc links the binary and compiles its allocator"
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null || cannot "cargo is missing: install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) with rustup (https://rustup.rs)"
}
