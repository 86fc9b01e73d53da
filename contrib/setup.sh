# Sourced by try, test, check and bench: installs what is missing, and only that.
# shellcheck shell=bash disable=SC2034
#
# No service of the system is started, stopped or configured: slapd is installed without a configuration, policy-rc.d
# denies starts while packages are set up, and what came newly stays off at the next boot too.

set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin${HOME:+:$HOME/.cargo/bin}"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# packages NAME...: installs the Debian packages that are not installed yet.
packages() {
    local missing=() name
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system; make sure that you have what these packages hold: $*"
        return
    fi
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        # sudo may ask for a password where there is somebody to answer
        sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; } || die "please install: ${missing[*]}"
        root=(sudo)
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive bash -s "${missing[@]}" >&2 <<'ROOT'
set -euo pipefail
guard=/usr/sbin/policy-rc.d
if [ ! -e $guard ]; then
    printf '#!/bin/sh\nexit 101\n' >$guard
    chmod 755 $guard
    trap 'rm -f $guard' EXIT
fi
echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
apt-get -qq -o DPkg::Lock::Timeout=300 update || echo 'apt-get update failed; trying with the lists that are there' >&2
apt-get "${options[@]}" install "$@" </dev/null
for name in "$@"; do
    case $name in
        slapd) units='slapd.service' ;;
        openssh-server) units='ssh.service ssh.socket' ;;
        *) continue ;;
    esac
    # shellcheck disable=SC2086
    if command -v systemctl >/dev/null; then systemctl disable $units >/dev/null 2>&1 || true; fi
done
ROOT
}

# The daemon's own needs, and a compiler's.
RUN_PACKAGES=(slapd slapd-contrib ldap-utils)
BUILD_PACKAGES=(gcc libc6-dev)

command -v cargo >/dev/null || die "needs a Rust toolchain: https://rustup.rs"

# static_helper: builds sshd's helper alone and statically linked, and prints where it is. Without a dynamic loader it
# runs in two thirds of the time. usherd stays dynamic: it looks up accounts, which goes through the host's NSS modules.
static_helper() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --quiet --release --locked --no-default-features \
        --bin usher-authorized-keys --target "$host" >&2
    echo "$(realpath "${CARGO_TARGET_DIR:-target}")/$host/release/usher-authorized-keys"
}
