#!/usr/bin/env bash
# Makes the virtual environment, keeps it up to date, and starts the program.
#
#   ./webui.sh [flags]          start; ./webui.sh --help lists the flags
#   ./webui.sh --install-only   install and stop
#   ./webui.sh test [args]      install what the tests need and run them with pytest's arguments
#
#   PYTHON            the Python to use (3.10 to 3.13)
#   TORCH_INDEX_URL   the package index to take torch from (pytorch.org names one for each kind of device)
#   venv_dir          where the virtual environment is (default: venv beside this file)
#   COMMANDLINE_ARGS  flags that come before those of the command line
set -euo pipefail

source_file="${BASH_SOURCE[0]}"
while [ -L "$source_file" ]; do
    link="$(readlink "$source_file")"
    case "$link" in
        /*) source_file="$link" ;;
        *) source_file="$(dirname "$source_file")/$link" ;;
    esac
done
here="$(cd "$(dirname "$source_file")" && pwd -P)"
venv="${venv_dir:-$here/venv}"
python="$venv/bin/python"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONNOUSERSITE=1

say() { printf '%s\n' "webui.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# True when $1 is a Python that this program runs on. Quiet: shims of absent versions and other wrecks just do not count.
is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

can_make_venvs() {
    "$1" -c 'import venv, ensurepip' >/dev/null 2>&1
}

version_of() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "nothing that runs"
}

find_python() {
    local name without_venv=""
    if [ -n "${PYTHON:-}" ]; then
        is_supported "$PYTHON" || fail "PYTHON=$PYTHON is $(version_of "$PYTHON"); Python 3.10, 3.11, 3.12 or 3.13 is needed."
        can_make_venvs "$PYTHON" || fail "PYTHON=$PYTHON can't make virtual environments: install its venv package (python3-venv)."
        printf '%s\n' "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3.10 python3 python; do
        is_supported "$name" || continue
        if can_make_venvs "$name"; then
            printf '%s\n' "$name"
            return
        fi
        without_venv="$name"
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv can't make virtual environments: install its venv package (python3-venv) and run this again."
    fi
    fail "Python 3.10, 3.11, 3.12 or 3.13 is needed and was not found (python3 is $(version_of python3)). Install one, or name it with PYTHON=."
}

# The environment is kept as long as its Python works and is the one that was asked for. Its pip, which comes last when an environment is
# made, is added where that was interrupted.
make_venv() {
    local base
    if is_supported "$python"; then
        if [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$python")" ]; then
            if "$python" -c 'import pip' 2>/dev/null || "$python" -m ensurepip >/dev/null 2>&1; then
                return
            fi
        fi
    fi
    base="$(find_python)"
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "$venv is not a virtual environment: move it away, or name another folder with venv_dir=."
    fi
    say "making $venv with Python $(version_of "$base")"
    "$base" -m venv --clear "$venv" || fail "the virtual environment could not be made."
}

# What the environment was made from: Python, the index of torch, and the requirement files in $@.
fingerprint() {
    version_of "$python"
    printf '%s\n' "${TORCH_INDEX_URL:-}"
    cat "$@" | cksum
}

# Installs the requirement files after $1 unless the stamp called $1 says that exactly they are installed. The stamp goes away first and
# comes back last, so an interrupted installation is simply done again.
install() {
    local stamp="$venv/.installed-$1" wanted file
    shift
    wanted="$(fingerprint "$@")"
    if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    rm -f "$stamp"
    say "installing; the first time this downloads some gigabytes"
    # By force, since pip takes the torch of another index, a CPU's or another GPU's, for the one that is asked for.
    if [ "$(cat "$venv/.torch-index" 2>/dev/null)" != "${TORCH_INDEX_URL:-}" ]; then
        "$python" -m pip install --force-reinstall ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
            "$(grep -E '^torch[^a-z]' "$here/requirements.txt")" torchvision ||
            fail "torch could not be installed (TORCH_INDEX_URL=${TORCH_INDEX_URL:-}); the lines above say why. Run this again to go on."
        printf '%s' "${TORCH_INDEX_URL:-}" >"$venv/.torch-index"
    fi
    local arguments=()
    for file in "$@"; do arguments+=(-r "$file"); done
    "$python" -m pip install "${arguments[@]}" || fail "the installation failed; the lines above say why. Run this again to go on."
    printf '%s\n' "$wanted" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

make_venv
case "${1:-}" in
    test)
        shift
        install test "$here/requirements.txt" "$here/requirements-dev.txt"
        cd "$here"
        # Two processes: the tests wait a good deal, for browsers and for programs to start. -n 0 for one.
        exec "$python" -m pytest -n 2 --dist loadgroup "$@"
        ;;
    --install-only)
        install run "$here/requirements.txt"
        say "installed. Start with ./webui.sh"
        ;;
    *)
        install run "$here/requirements.txt"
        exec "$python" "$here/app.py" "$@"
        ;;
esac
