#!/usr/bin/env bash
# Writes requirements.lock: every package, for every platform, with the hashes of its files.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x build/lock/bin/uv ] || { python3 -m venv build/lock && build/lock/bin/pip install -q uv; }
{
    echo "# Everything that runs, tests and builds runbook, pinned, with hashes. Made anew by \`make lock\`."
    printf 'hatchling>=1.24\neditables\n' |
        build/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
            --no-emit-index-url --no-emit-find-links --no-emit-package bpf-runbook --extra dev pyproject.toml -
} >build/requirements.lock
mv build/requirements.lock requirements.lock
