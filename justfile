# The one place that spells commands; CI calls the same verbs. `just` itself comes with the test extra.

# The environment that this `just` was installed into, else the active one, else .venv.
own := parent_directory(just_executable())
bin := if path_exists(own / "pytest") == "true" { own } else { env("VIRTUAL_ENV", justfile_directory() / ".venv") / "bin" }
public := "env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS"

# "$@" hands arguments on as they came, whatever is in them.
set positional-arguments

_list:
    @"{{ just_executable() }}" --list --unsorted

# Make .venv with everything that work on the code needs, and the commit hooks
setup:
    test -d .venv || python3 -m venv .venv
    .venv/bin/pip install --editable ".[test,dev]"
    .venv/bin/pre-commit install

# Everything but the tests: lint, format, types, docs
check: lint types
    "{{ bin }}/python" docs/generate.py --check

# Lint, format and spelling
lint:
    "{{ bin }}/ruff" check
    "{{ bin }}/ruff" format --check
    "{{ bin }}/codespell"

# mypy --strict on what ships: type checkers do not see through an editable install
types:
    rm -rf build
    "{{ bin }}/pip" install --quiet --no-deps --target build/check .
    MYPYPATH=build/check "{{ bin }}/mypy" --strict --package weighbridge

# The tests, two files at a time; arguments go to pytest, so `just test tests/policies` runs one folder
test *arguments="--numprocesses=2 --dist=loadfile":
    "{{ bin }}/python" -m pytest {{ arguments }}

# Every client there is, in environments of their own, and the table of it in docs/compatibility.md; needs npm
clients *names:
    "{{ bin }}/python" tests/clients/run.py {{ names }}

# Real inference servers, which answer with tiny models made on the spot; CONTRIBUTING.md says what they need
real *arguments:
    "{{ bin }}/python" -m pytest tests/real "$@"

# Odd bodies by the thousand, over kept connections: mutations, and beside them the published shapes
fuzz many="200000":
    #!/usr/bin/env bash
    export WEIGHBRIDGE_FUZZ_BODIES={{ many }}
    "{{ bin }}/python" -m pytest tests/fuzz --capture=no -k published & shapes=$!
    "{{ bin }}/python" -m pytest tests/fuzz --capture=no -k "not published"
    mutations=$?
    wait $shapes && exit $mutations

# Change what counts money and keeps secrets in many small ways, and see that a test notices; mutmut has a place of its own
mutants *arguments:
    test -d build/mutmut || "{{ bin }}/pip" install --quiet --target build/mutmut mutmut==3.8.1
    PYTHONPATH="{{ justfile_directory() }}/build/mutmut" "{{ bin }}/python" benchmarks/mutants.py "$@"

# Every figure that the documents claim, measured again on this machine
bench:
    for script in $(ls benchmarks/*.py | grep -v mutants); do echo "== $script"; "{{ bin }}/python" "$script" || exit 1; done
    "{{ just_executable() }}" mutants

# Write the tables in docs/ that come from the code
docs:
    "{{ bin }}/python" docs/generate.py

# The gateway, with config.toml
serve *arguments:
    "{{ bin }}/weighbridge" serve "$@"

# The demo: offline, no key
demo *arguments:
    "{{ bin }}/weighbridge" demo "$@"

# Make the classifier's artefact again, from the weights and the data
train *arguments:
    "{{ bin }}/python" -m weighbridge.classifiers.training "$@"

# Write uv.lock again, from the public index alone
lock:
    {{ public }} "{{ bin }}/uv" lock --default-index https://pypi.org/simple --upgrade
    ! grep --line-number --extended-regexp "file://|https?://[^\"]+" uv.lock | grep --invert-match --extended-regexp "https://(pypi\.org/simple|files\.pythonhosted\.org/)"

# Known vulnerabilities in what uv.lock names
audit:
    "{{ bin }}/uv" audit --locked

# What an installation consists of, by uv.lock, as a software bill of materials (CycloneDX 1.5)
sbom file="sbom.cdx.json":
    "{{ bin }}/uv" export --frozen --quiet --preview-features sbom-export --format cyclonedx1.5 --extra postgres --output-file "{{ file }}"

# The README's picture: the demo's report, as a browser shows it
picture:
    #!/usr/bin/env bash
    set -euo pipefail
    said=$(mktemp)
    "{{ bin }}/weighbridge" demo --serve --port 0 </dev/null >"$said" 2>&1 &
    demo=$!
    trap 'kill $demo; rm "$said"' EXIT
    until url=$(grep --only-matching --max-count=1 'http://127.0.0.1:[0-9]*' "$said"); do
        kill -0 $demo
        sleep 1
    done
    chromium --headless --no-sandbox --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1240,900 \
        --screenshot=docs/images/report.png "$url/"
