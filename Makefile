# The workbook's commands. Each one does all of its own set-up; the second run starts in seconds.
#
#   make run     run the last version of every stage on the default platform, write the notebooks as HTML to out/
#   make test    pytest and the notebooks' stored outputs (nbval), on two cores
#   make lab     JupyterLab, opened on notebooks/00_start_here.ipynb
#   make lint    ruff check and ruff format --check
#   make setup   make the environment in .venv and nothing else
#   make clean   remove the environment and everything that was made, but for answers to puzzles (out/answers)
#
# PYTHON=...        the interpreter to make the environment with (3.10, 3.11 or 3.12); else the first that fits
# JOBS=...          how many processes test side by side; each takes up to 4 GB
# TORCH_INDEX=...   a package index to take torch from, e.g. the one of CPU wheels that PyTorch's install page names
#                   for `pip`; else pip's own configuration decides (on Linux that is usually a CUDA build, some GB)

PYTHON ?=
JOBS ?= 2
TORCH_INDEX ?=
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-numbers lab lint clean

help:
	@sed -n 's/^#   make /  make /p' Makefile

setup: $(READY)

run: $(READY)
	@$(RUN) -m helpers run --all --last --html out/

TEST := $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --nbval --nbval-sanitize-with tests/nbval.cfg

test: $(READY)
	$(TEST)

# What could depend on how a processor rounds: every file of tests but these, and the notebooks. See .ci/run.
SAME := test_browser test_browser_films test_browser_inside test_browser_live test_browser_puzzles test_claims test_cli \
        test_compilers test_core_schedule test_diverge test_levers test_live_ahead test_prose test_stage_records \
        test_divergence test_docs test_environment test_files test_help test_in_notebooks test_inside \
        test_language_page test_layering test_live test_live_edits test_newcomer test_notebooks_html test_platforms \
        test_plots test_plots_time test_profile test_profile_schedule test_published test_puzzle_progress \
        test_repo_rules test_sweep test_toolchain_records test_toolchain_refusals test_toolchain_regions \
        test_toolchain_worker test_tuning test_with_pypto test_with_pypto_errors test_yardsticks \
        interpret/test_any_kernel interpret/test_bound_source interpret/test_checks interpret/test_depend \
        interpret/test_dry interpret/test_element_types interpret/test_facts interpret/test_new_operation \
        interpret/test_parse interpret/test_plan interpret/test_refusals interpret/test_signatures \
        interpret/test_task_ids interpret/test_task_names interpret/test_tile_annotations interpret/test_trace \
        interpret/test_types_of_names interpret/test_writers sanitize/test_lint sanitize/test_report

test-numbers: $(READY)
	$(TEST) $(SAME:%=--ignore=tests/%.py)

lab: $(READY)
	@$(RUN) -m helpers puzzles --copies
	$(RUN) -m jupyterlab notebooks/00_start_here.ipynb

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

clean:
	if [ -d out ]; then find out -mindepth 1 -maxdepth 1 ! -name answers -exec rm -rf {} +; fi
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A launcher may exist and still not run (a version manager's shim, for one), so each candidate is tried.
RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))
FITS := import venv, ensurepip; $(RANGE)

# The one place where anything is installed; done again only when pyproject.toml or setup.py changes.
$(READY): pyproject.toml setup.py
	@set -e; \
	if [ -e $(VENV) ] && ! $(RUN) -c '$(FITS)' 2>/dev/null; then rm -rf $(VENV); fi; \
	if [ ! -e $(VENV) ]; then \
	  found=; tried="$(if $(PYTHON),$(PYTHON),python3 python3.12 python3.11 python3.10 python)"; \
	  for p in $$tried; do if "$$p" -c '$(FITS)' 2>/dev/null; then found=$$p; break; fi; done; \
	  if [ -z "$$found" ]; then \
	    echo "No usable Python 3.10, 3.11 or 3.12 (with its venv module). Tried:" >&2; \
	    for p in $$tried; do \
	      if ! command -v "$$p" >/dev/null 2>&1; then echo "  $$p: not found"; \
	      elif ! "$$p" -c '' 2>/dev/null; then echo "  $$p: there, but does not run"; \
	      elif ! "$$p" -c '$(RANGE)'; then echo "  $$p: $$("$$p" --version 2>&1), out of range"; \
	      else echo "  $$p: has no venv (Debian and Ubuntu: apt-get install python3-venv)"; fi; \
	    done >&2; \
	    echo "Install one, or name one: make PYTHON=/path/to/python3.11 ..." >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$found ($$("$$found" --version 2>&1)); this is done once."; \
	  "$$found" -m venv $(VENV); \
	fi; \
	if [ -n "$(TORCH_INDEX)" ]; then \
	  $(RUN) -m pip install --index-url "$(TORCH_INDEX)" \
	    "$$($(RUN) -c 'import re; print(re.search(r"torch==[^\"]+", open("pyproject.toml").read())[0])')"; \
	fi; \
	$(RUN) -m pip install --disable-pip-version-check -e '.[dev]'; \
	touch $@
