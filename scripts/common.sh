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
    install_package "$package" "$why"
    command -v "$program" >/dev/null || cannot "$package has no $program ($why)"
}

# install_package PACKAGE WHY: as apt-get does it.
install_package() {
    local package=$1 why=$2
    say "installing $package: $why"
    command -v apt-get >/dev/null || cannot "$package is missing ($why) and there is no apt-get to install it with"
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
    if [ -z "$installed" ]; then
        cannot "$package could not be installed ($why)"
    fi
}

# install_service PROGRAM PACKAGE WHY: a program whose package brings a service of the system. The tests start it by
# themselves; the service stays as it was: what was there before runs on, what comes now neither starts here nor at the
# next boot.
install_service() {
    local program=$1 package=$2 why=$3
    PATH="$PATH:/usr/sbin:/sbin"
    if command -v "$program" >/dev/null; then
        return
    fi
    install "$program" "$package" "$why"
    if pgrep -x "$program" >/dev/null; then
        say "a $program runs that the installation started: 'systemctl stop $package' ends it"
    fi
    if command -v systemctl >/dev/null; then
        as_root systemctl disable --quiet "$package" 2>/dev/null || true
    fi
}

# install_python PROGRAM PACKAGE WHY: nothing if the program is there; else into a folder of its own under target/, with
# Debian's Python, whose own packages pip may not touch.
install_python() {
    local program=$1 package=$2 why=$3
    local peers=$PWD/target/peers
    PATH="$PATH:$peers/bin"
    if command -v "$program" >/dev/null; then
        return
    fi
    python_place "$why"
    say "installing the Python package $package: $why"
    "$peers/bin/python3" -m pip install --quiet --disable-pip-version-check "$package" >&2 ||
        cannot "the Python package $package could not be installed ($why)"
    command -v "$program" >/dev/null || cannot "the Python package $package brings no $program ($why)"
}

# python_place WHY: the folder that Python packages are installed into.
python_place() {
    local why=$1 peers=$PWD/target/peers
    install python3 python3 "Python runs packages of others: $why"
    # A venv that was cut short is made anew.
    if ! "$peers/bin/python3" -m pip --version >/dev/null 2>&1; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || install_package python3-venv "it makes a place for Python packages"
        python3 -m venv --clear "$peers" >&2 || cannot "python3 -m venv $peers fails ($why)"
    fi
}

# install_pesq: the judge of speech, as a module of the Python in target/peers. It comes as C, which is compiled here:
# that takes cc and the headers of Python.
install_pesq() {
    local why="PESQ (ITU-T P.862) scores the speech that calls carry" python=$PWD/target/peers/bin/python3
    if "$python" -c 'import pesq, numpy' 2>/dev/null; then
        return
    fi
    python_place "$why"
    "$python" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_paths()["include"], "Python.h"))' 2>/dev/null ||
        install_package python3-dev "the Python package pesq is compiled with its headers"
    install cc build-essential "cc compiles the Python package pesq"
    say "installing the Python packages pesq, numpy and scipy: $why"
    "$python" -m pip install --quiet --disable-pip-version-check pesq numpy scipy >&2 ||
        cannot "the Python packages pesq, numpy and scipy could not be installed ($why)"
    "$python" -c 'import pesq, numpy' || cannot "the Python package pesq does not load ($why)"
}

# Rust links with cc, and some packages are C (the allocator, SQLite, libopus): no library beyond libc.
build_tools() {
    install cc build-essential "cc links the binary and compiles its allocator"
    install cmake cmake "cmake builds libopus, which is linked statically"
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null || cannot "cargo is missing: install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) with rustup (https://rustup.rs)"
}
