#!/bin/sh
# Runs a program of the Python packages that deps.sh installed: scripts/python.sh NAME ARGUMENT…
name=$1; shift
exec "${XDG_CACHE_HOME:-$HOME/.cache}/are/python/bin/$name" "$@"
