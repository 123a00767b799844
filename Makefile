# Two commands from a fresh clone, each with all the set-up: `make train` and `make test`.
# `make help` lists the others and their variables.

TASK ?= walker_walk
GPU := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu)
BF16 := $(shell grep -qsE 'avx512_bf16|amx_bf16' /proc/cpuinfo && echo bf16)
FLAGS ?= $(if $(GPU),flags/clion.flags,flags/cpu.flags $(BF16:%=flags/%.flags))
EMPTY :=
COMMA := ,
PRESET = $(subst $(EMPTY) $(EMPTY),-,$(basename $(notdir $(FLAGS))))
LOGDIR ?= logdir/$(TASK)-$(PRESET)
ARGS ?=

PYTHON ?= python3.11 python3.12 python3
SUITABLE := import sys; assert (3, 11) <= sys.version_info[:2] < (3, 13)
# The environment is named relative to here, as paths with spaces are not for make.
VENV := .venv
EXTRAS := test$(if $(GPU),-gpu)
INSTALLED := $(VENV)/.installed-$(EXTRAS)
EGL_PACKAGES := libegl1 libgl1 libopengl0 libgl1-mesa-dri
OPENGL_PACKAGES := $(if $(filter osmesa,$(MUJOCO_GL)),libosmesa6,$(EGL_PACKAGES))

# Installs Debian packages $(1), or says how to.
define apt_install
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $(1) (apt-get)"; \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else \
		echo "missing system packages; run: sudo apt-get install -y $(1)" >&2; exit 1; \
	fi
endef

.PHONY: help install opengl browser train lint test test-slow mutation clean

help:
	@echo 'make train    set up, then train CLION (continues where it stopped)'
	@echo '                TASK=walker_walk  LOGDIR=logdir/TASK-PRESET'
	@echo '                FLAGS=cpu or a flagfile (several: later ones win)  ARGS="--seed=1 ..."'
	@echo '                here FLAGS is $(FLAGS) by default'
	@echo 'make test     set up, then run the tests; ARGS="tests/test_cli.py -k task" for some'
	@echo 'make test-slow  set up, then see that CLION, Dreamer and DrQ learn a cheap task (minutes)'
	@echo 'make mutation  set up, then try changes of the learning that no test notices (20 minutes)'
	@echo 'make lint     set up, then check the code with ruff, the types with mypy'
	@echo 'make install  make $(VENV) with the tested versions, PYTHON=python3.12 to choose another'
	@echo 'make opengl   see that pictures can be rendered without a display'
	@echo 'make browser  see that there is a browser, with which tests look at reports'
	@echo 'make clean    remove $(VENV) and what tools left; runs stay'

install: $(INSTALLED)

$(INSTALLED): setup.py constraints.txt
	@set -e; python=; \
	for need in '$(SUITABLE); import ensurepip, venv' '$(SUITABLE)'; do \
		for name in $(PYTHON); do \
			if [ -z "$$python" ] && $$name -c "$$need" 2>/dev/null; then python=$$name; fi; \
		done; \
	done; \
	if [ -z "$$python" ]; then \
		echo "no Python 3.11 or 3.12 found (tried: $(PYTHON)); use make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	if ! $(VENV)/bin/python -c '$(SUITABLE); import pip' 2>/dev/null; then \
		if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
			package=$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
			$(call apt_install,$$package); \
		fi; \
		rm -rf $(VENV); $$python -m venv $(VENV); \
	fi; \
	echo "installing into $(VENV) (about 2 GB, some minutes)"; \
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check \
		-c constraints.txt -e '.[$(subst -,$(COMMA),$(EXTRAS))]'
	@touch $@

opengl: $(INSTALLED)
	@if ! $(VENV)/bin/python -m clion_tf.envs.opengl 2>$(VENV)/opengl.log; then \
		cat $(VENV)/opengl.log >&2; \
		$(call apt_install,$(OPENGL_PACKAGES)); \
		$(VENV)/bin/python -m clion_tf.envs.opengl; \
	fi

browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
		$(call apt_install,chromium chromium-driver); \
	fi

train: $(INSTALLED) opengl
	$(VENV)/bin/python -m clion_tf.run $(FLAGS:%=--flagfile=%) --task='$(TASK)' --logdir='$(LOGDIR)' $(ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

# On the CPU: the reference numbers are float32, which GPUs round more coarsely by default.
test: $(INSTALLED) opengl browser
	CUDA_VISIBLE_DEVICES=-1 CLION_TF_BROWSER=required $(VENV)/bin/python -m pytest --timeout=300 -n 2 --dist=loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(INSTALLED)
	CUDA_VISIBLE_DEVICES=-1 $(VENV)/bin/python -m pytest -m slow $(ARGS)

mutation: $(INSTALLED)
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	CUDA_VISIBLE_DEVICES=-1 $(VENV)/bin/python tests/mutation.py $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
