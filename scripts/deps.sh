#!/bin/sh
# The only installer. `deps.sh run` makes sure of what `make run` needs,
# `deps.sh test` of what `make test` needs as well, `deps.sh layout` of what
# `make layout` does. It says what is missing and
# how large it is before it installs anything, asks nothing, and is quick when
# all is there. Where system packages cannot be installed it names them and stops.
set -eu
cd "$(dirname "$0")/.."
wanted=${1:-test}
case $wanted in run | test | layout) ;; *) echo "usage: deps.sh run|test|layout" >&2; exit 2 ;; esac

say() { printf '%s\n' "$*" >&2; }

if ! command -v cargo >/dev/null 2>&1; then
    say "error: cargo is missing"
    say "  why:  everything here is built with it"
    say "  help: install Rust 1.95 or newer from https://rustup.rs"
    exit 3
fi

# The pinned toolchain comes by itself with rustup; without it cargo must be new enough.
pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
version=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
if [ -z "$version" ] && command -v rustup >/dev/null 2>&1; then
    say "installing Rust $pinned (about 300 MB)"
    rustup toolchain install "$pinned" --profile minimal --component clippy --component rustfmt
    version=$pinned
fi
lowest=$(printf '%s\n%s\n' "$pinned" "${version:-0}" | sort -V | head -n 1)
if [ "$lowest" != "$pinned" ]; then
    say "error: cargo ${version:-of unknown version} is too old"
    say "  why:  the sources need Rust $pinned"
    say "  help: install it from https://rustup.rs"
    exit 3
fi

packages='' components='' crates='' ours='' wheels='' suites='' fetched='' later='' lines='' total=0
while IFS='|' read -r name for probe how size why; do
    # Word splitting trims the columns.
    set -- $name; name=${1:-}
    case $name in '' | '#'*) continue ;; esac
    set -- $for; for=${1:-}
    [ "$for" = run ] || [ "$for" = "$wanted" ] || continue
    if sh -c "$probe" >/dev/null 2>&1; then continue; fi
    set -- $how; how=$*
    set -- $size; size=$1
    case $how in
    apt:*)
        package=${how#apt:}
        case " $packages " in *" $package "*) continue ;; esac
        packages="$packages $package"
        ;;
    rustup:*) components="$components ${how#rustup:}" ;;
    cargo:*) crates="$crates ${how#cargo:}" ;;
    path:*) ours="$ours ${how#path:}" ;;
    pip:*) wheels="$wheels ${how#pip:}" ;;
    fetch:*) fetched="$fetched ${how#fetch:}" ;;
    npm:*) suites="$suites ${how#npm:}" ;;
    are:*) later="$later ${how#are:}" ;;
    *) say "deps.list: $name cannot be installed by \`$how\`"; exit 2 ;;
    esac
    total=$((total + size))
    lines="$lines
  $name ($how), about $size MB:$why"
done < scripts/deps.list

if [ -z "$lines" ]; then
    say "all that is needed is there"
    exit 0
fi
say "missing, about $total MB:$lines"

if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        as_root='none'
    fi
    if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
        say "error: system packages are missing:$packages"
        say "  why:  they can be installed only by root, with apt"
        say "  help: sudo apt-get install$packages, or the same with your system's installer"
        exit 3
    fi
    say "installing system packages:$packages"
    $as_root apt-get update -q
    # Package names hold no blanks.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
fi
if [ -n "$components" ]; then
    if ! command -v rustup >/dev/null 2>&1; then
        say "error: parts of the Rust toolchain are missing:$components"
        say "  why:  they come with rustup, which is not here"
        say "  help: install Rust from https://rustup.rs"
        exit 3
    fi
    for component in $components; do
        case $component in
        # Without it one test says that it could not show anything.
        rust-std-*) rustup component add "$component" || say "warning: $component cannot be had" ;;
        *) rustup component add "$component" ;;
        esac
    done
fi
for crate in $crates; do
    say "installing $crate with cargo; this takes some minutes, once"
    cargo install --locked --quiet "$crate"
done
for path in $ours; do
    # Outside the clone, and built apart from the workspace.
    say "building $path with cargo"
    cargo install --locked --quiet --path "$path" --root "${XDG_CACHE_HOME:-$HOME/.cache}/are/tools"
done
if [ -n "$wheels" ]; then
    # An environment of their own: the system's Python packages stay as they are.
    python="${XDG_CACHE_HOME:-$HOME/.cache}/are/python"
    say "installing Python packages into $python:$wheels"
    [ -x "$python/bin/pip" ] || python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check $wheels
fi
for suite in $suites; do
    say "installing $suite with npm, outside of the clone"
    home=$HOME/.cache/are/$suite
    mkdir -p "$home"
    cp "scripts/$suite/package.json" "scripts/$suite/package-lock.json" "$home/"
    # Exactly what the lock file names, and nothing of it runs while it is installed.
    (cd "$home" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$home/package-lock.json" "$home/installed.json"
done
for path in $fetched; do
    cargo fetch --locked --quiet --manifest-path "$path/Cargo.toml"
done
if [ -n "$later" ]; then
    say "what building needs is there; models to fetch when the program is built:$later"
else
    say "all that is needed is there"
fi
