# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
FUZZ_SECONDS ?= 20
HIL := .venv-hil
HIL_ENV ?= hil_tests/virtual.yaml
HIL_ARGS ?= -m "not long"
# Many tests wait in real time, for frames or for the other end: more processes than cores pay.
TEST_PROCESSES ?= 3
POWERCUT_RESULTS ?= build/hil/power-cuts.jsonl
CAMERA_LONG_SIZE ?= 1280x720

.PHONY: help demo test long camera camera-long check bench fuzz hil powercut powercut-long bytecode lock docs deb try-packages try-packages-short clean

help:
	@echo "make demo    camera and dock on this machine, press to proof     (DEMO_ARGS='--preroll 5 --seconds 5')"
	@echo "make test    lint, types, import rules and all tests"
	@echo "make long    the long form of the campaigns; writes docs/reports/"
	@echo "make camera  the firmware on real picamera2 and libcamera, without a camera (make camera-long: ten minutes)"
	@echo "make check   lint, types and import rules alone"
	@echo "make bench   measurements beside peers"
	@echo "make fuzz    every parser against altered inputs                 (FUZZ_SECONDS=20 each)"
	@echo "make powercut  power cut over all of a recording's life, write-log replays, deliberate faults"
	@echo "make powercut-long  a thousand power cuts and their report; goes on where it was stopped"
	@echo "make hil     the suite on a virtual board with power that is cut (HIL_ENV=hil_tests/pi.yaml: on a real one)"
	@echo "make docs    write the generated parts of docs/ again"
	@echo "make deb     Debian packages for camera and dock, into build/deb     (DEB_ARGS='--sign KEY')"
	@echo "make try-packages   the packages in an Arm root and under systemd (root; some minutes)"
	@echo "make try-packages-short  each of them once, for a CI (root; some eight minutes)"
	@echo "make lock    resolve the locked versions again"

$(VENV)/.demo: requirements/demo.txt pyproject.toml scripts/system-packages
	scripts/system-packages demo
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.demo requirements/test.txt
	scripts/system-packages test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements/test.txt
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/preroll demo $(DEMO_ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: check
	-PYTHON=$(BIN)/python scripts/fetch-footage
	-scripts/fetch-age-vectors
	$(BIN)/pytest -m "not long" -n $(TEST_PROCESSES) --dist worksteal

long: $(VENV)/.test
	$(BIN)/pytest -m long

# On libcamera's virtual pipeline, built once into a cache (docs/real-camera.md).
camera: $(VENV)/.test
	scripts/system-packages camera
	PYTHON=$(BIN)/python hil_tests/camera/build-libcamera
	$(BIN)/pytest hil_tests/camera --confcutdir=hil_tests/camera --junitxml=build/camera/junit.xml

camera-long:
	$(MAKE) camera CAMERA_COMMAND="make camera-long" CAMERA_SECONDS=600 CAMERA_SIZE=$(CAMERA_LONG_SIZE) CAMERA_CYCLES=40 \
	    CAMERA_REPORT=docs/reports/real-camera.md

bench: $(VENV)/.test
	scripts/system-packages bench
	$(BIN)/python -m bench

fuzz: $(VENV)/.test
	$(BIN)/python -m bench.fuzz --seconds $(FUZZ_SECONDS)

# labgrid brings its own fork of pyserial, hence an environment apart from the camera's; the board runs the camera's.
$(HIL)/.hil: requirements/hil.txt scripts/system-packages
	scripts/system-packages hil
	$(PYTHON) -m venv $(HIL)
	$(HIL)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/hil.txt
	@touch $@

# A board reads its firmware from a file system that it can't write: without this each start compiles it anew.
bytecode: $(VENV)/.test
	$(BIN)/python -m compileall -q device docklink evidence host preroll hil_tests

hil: bytecode $(HIL)/.hil
	hil_tests/board/build-kernel
	$(HIL)/bin/pytest hil_tests --ignore=hil_tests/camera --ignore=hil_tests/powercut --ignore=hil_tests/mutations --lg-env $(HIL_ENV) -o junit_family=xunit1 --junitxml build/hil/junit.xml --bench-report build/hil/report.html $(HIL_ARGS)

# In the product's own environment: dock and judges run on the host. The long form: docs/reports/power-cuts.md.
powercut: bytecode
	scripts/system-packages hil
	hil_tests/board/build-kernel
	$(BIN)/pytest hil_tests/powercut hil_tests/mutations -m "not long" --junitxml build/hil/powercut.xml $(POWERCUT_ARGS)

# A thousand cuts, in as many runs as one likes: it goes on where its results end.
powercut-long: bytecode
	scripts/system-packages hil
	hil_tests/board/build-kernel
	$(BIN)/python -m hil_tests.powercut --cuts 1000 --results $(POWERCUT_RESULTS) --report docs/reports/power-cuts.md

docs: $(VENV)/.demo
	$(BIN)/python scripts/generate-docs

# The Debian packages, checksums and bills of materials, into build/deb.    DEB_ARGS='--sign KEY'
deb:
	scripts/system-packages packages
	packaging/build-deb $(DEB_ARGS)

# The packages as a camera and a dock have them: an Arm root under qemu-user, and both services under systemd.
try-packages:
	scripts/system-packages packages
	packaging/build-deb device-arm64 device-amd64 dock-amd64
	packaging/try-services || [ $$? = 77 ]  # 77: not here, and it has said why
	packaging/try-pages || [ $$? = 77 ]
	packaging/try-device --tests || [ $$? = 77 ]

# What each run of a CI does: builds, then each try once; a line for each, and a summary.
try-packages-short:
	scripts/system-packages packages
	packaging/try-short

lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --extra demo --extra dock pyproject.toml -o requirements/demo.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --extra demo --extra dock --group dev -c requirements/demo.txt pyproject.toml -o requirements/test.txt
	$(BIN)/uv pip compile --quiet --python-platform aarch64-manylinux_2_36 --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" -c requirements/demo.txt pyproject.toml packaging/device.in -o requirements/device.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" -c requirements/demo.txt --extra dock pyproject.toml -o requirements/dock.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" -c requirements/test.txt packaging/tools.in -o requirements/packaging.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" -c requirements/test.txt requirements/hil.in -o requirements/hil.txt

clean:
	rm -rf $(VENV) $(HIL) .mypy_cache .ruff_cache .pytest_cache .hypothesis
