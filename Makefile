# make demo    environment, then a first look at demo scale (config.yaml: demo): no download, minutes
# make demo-all  every artefact at demo scale
# make test    environment, then linters, types and tests
# make check   linters and types alone
# make faults  does to the workflow what machines and networks do; writes docs/faults.md
# make test-oldest  tests of training with the oldest PyTorch that it works with (.venv-oldest, 6 GB more)
# make text    the environment of the text stage with the last torchtext (.venv-text, 5 GB more)
# make containers  the images of the stages, for --sdm apptainer: those that are out of date (docs/containers.md)
# make same-numbers  the demo here and in containers, from nothing, and compares all numbers
# make pictures  the workflow's graphs in docs/workflow.md, drawn from its rules
# make locks   new versions into envs/*.txt (needs uv)
# make clean   removes what was made, the environment and finished runs included

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-all test test-oldest check faults text containers same-numbers pictures locks clean always

demo: .venv/workflow.txt
	@$(BIN)/snakemake --cores all --config scale=demo --logger rich
	@echo "Report: outputs/demo/report.html"
	@echo "Tables: $$(echo outputs/demo/tables/*.md)"

demo-all: .venv/workflow.txt
	@$(BIN)/snakemake --cores all --config scale=demo demo=[] --logger rich
	@echo "Report: outputs/demo/report.html"

test: check
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

faults: .venv/develop.txt
	@$(BIN)/python -m pytest tests/faults -m fault --numprocesses 2 --dist loadfile

check: .venv/develop.txt
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/snakefmt --check Snakefile rules
	@$(BIN)/snakemake --lint
	@$(BIN)/nbstripout --verify notebooks/*.ipynb

# A lock is installed when its copy in .venv is the same. The development lock holds
# the workflow's versions too.
.venv/%.txt: envs/%.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh envs/install.sh $<

# The text stage with the last release of torchtext; here only to show that both releases give the same.
text: .venv-text/text.lock.txt

.venv-text/text.lock.txt: envs/text.lock.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh envs/install.sh $< .venv-text

# The training stage with versions that clusters still have.
test-oldest: .venv-oldest/oldest.lock.txt
	@.venv-oldest/bin/python -m pytest tests/training tests/methods tests/models

.venv-oldest/oldest.lock.txt: envs/oldest.lock.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh envs/install.sh $< .venv-oldest

STAGES := data train present text
BASE ?= debian

containers: $(STAGES:%=containers/%.sif)
	@ls -l --block-size=M $^ | awk '{sum += $$5; print $$9 ": " $$5 "B"} END {print "together " sum " MB"}'

containers/%.sif: containers/%.def envs/%.lock.txt containers/build.sh containers/install.sh pyproject.toml \
		containers/.build/made-of
	@BASE=$(BASE) PYTHON=$(BIN)/python sh containers/build.sh $*

# The package and the base that images are made of; its time is that of the last change of either.
containers/.build/made-of: always | .venv/workflow.txt
	@mkdir -p $(@D)
	@code=$$($(BIN)/python -m lapwing.code) && echo "$$code $(BASE)" >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

same-numbers: containers
	@$(BIN)/python -m benchmarks.containers

pictures: .venv/workflow.txt
	@$(BIN)/python docs/pictures.py

locks:
	uv pip compile --generate-hashes --universal --python-version 3.11 --no-header --quiet --upgrade envs/workflow.in --output-file envs/workflow.txt
	uv pip compile --generate-hashes --universal --python-version 3.11 --no-header --quiet --upgrade envs/develop.in --output-file envs/develop.txt
	for stage in data train present; do \
		uv pip compile --generate-hashes --python-version 3.11 --python-platform linux --no-header --quiet --upgrade envs/$$stage.in --output-file envs/$$stage.lock.txt; \
	done
	uv pip compile --generate-hashes --python-version 3.11 --no-header --quiet --upgrade envs/text.in --output-file envs/text.lock.txt
	uv pip compile --generate-hashes --python-version 3.11 --no-header --quiet --upgrade envs/oldest.in --output-file envs/oldest.lock.txt

clean:
	rm -rf containers/.build containers/*.sif containers/*.sif.part .cache .config .venv .venv-text .venv-oldest .snakemake resources $(filter-out outputs/README.md,$(wildcard outputs/*))
