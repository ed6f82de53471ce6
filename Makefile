# make demo    environment, then a first look at demo scale (config.yaml: demo): no download, minutes
# make demo-all  every artefact at demo scale
# make test    environment, then linters, types and tests
# make check   linters and types alone
# make text    the environment of the text stage with the last torchtext (.venv-text, 5 GB more)
# make locks   new versions into envs/*.txt (needs uv)
# make clean   removes what was made, the environment and finished runs included

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo demo-all test check text locks clean

demo: .venv/workflow.txt
	@$(BIN)/snakemake --cores all --config scale=demo --logger rich
	@echo "Report: outputs/demo/report.html"
	@echo "Tables: $$(echo outputs/demo/tables/*.md)"

demo-all: .venv/workflow.txt
	@$(BIN)/snakemake --cores all --config scale=demo demo=[] --logger rich
	@echo "Report: outputs/demo/report.html"

test: check
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

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

locks:
	uv pip compile --generate-hashes --universal --python-version 3.11 --no-header --quiet --upgrade envs/workflow.in --output-file envs/workflow.txt
	uv pip compile --generate-hashes --universal --python-version 3.11 --no-header --quiet --upgrade envs/develop.in --output-file envs/develop.txt
	uv pip compile --generate-hashes --python-version 3.11 --no-header --quiet --upgrade envs/text.in --output-file envs/text.lock.txt

clean:
	rm -rf .venv .venv-text .snakemake resources $(filter-out outputs/README.md,$(wildcard outputs/*))
