# What one does with this tree, for GNU make and BSD make alike.
# `make demo` and `make test` do their own set-up; `.ci/run` runs every check.

# rustup puts it where not every shell looks.
CARGO = PATH="$$PATH:$$HOME/.cargo/bin" cargo
BW = 2026.8.0
PREFIX = /usr/local
PRODUCT = -p colibri-writer -p colibri-fetcher -p colibri-bell -p colibri-shim -p colibri-daemon -p colibri-cli

all: build

build:
	@scripts/need make cargo cc
	$(CARGO) build --release --locked $(PRODUCT)

# What was built, and the service files of this system, below DESTDIR/PREFIX.
install:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install

# What the system lacks, through its package manager.
setup:
	@scripts/setup run test

# The Bitwarden command line of each pinned version, into target/bw.
bw:
	@scripts/setup run
	@scripts/bw

# The readers of env files that the tests compare with.
readers:
	@scripts/setup test
	@[ ! -e scripts/readers ] || scripts/readers

demo:
	@scripts/setup run
	@scripts/need make cargo cc
	@scripts/bw $(BW)
	$(CARGO) build --release --locked $(PRODUCT)
	$(CARGO) build --release --locked -p colibri-test-vault
	@scripts/demo/run

# The end-to-end tests run the debug binaries, so nothing is built twice.
test: setup bw readers
	@scripts/need make cargo cc
	$(CARGO) build --workspace --all-targets --locked
	COLIBRI_TEST_BIN="$${CARGO_TARGET_DIR:-$$(pwd)/target}/debug" \
	    PATH="$$PATH:$$HOME/.cargo/bin" scripts/count-tests cargo test --workspace --locked --no-fail-fast

# The tests that run bw, with each pinned version of it.
test-bw: setup bw
	@scripts/need make cargo cc
	$(CARGO) build --workspace --all-targets --locked
	for version in tests/bw/*; do \
	    COLIBRI_TEST_BW_VERSION=$${version##*/} $(CARGO) test --locked --no-fail-fast \
	        -p colibri-fetcher -p colibri-e2e || exit 1; done

fmt:
	@scripts/need make cargo
	$(CARGO) fmt --all

lint:
	@scripts/lint

freebsd-check:
	@scripts/freebsd-check --link

# Everything that is tested, as one tar to be run on a FreeBSD host.
freebsd-bundle:
	@scripts/bundle FreeBSD target/bundle/colibri-freebsd.tar.gz

# The same for this system, run where the checkout cannot be seen.
bundle-check:
	@scripts/bundle-check target/bundle/colibri-linux.tar.gz

deny:
	@scripts/deny

# The Debian package, target/debian/colibri.deb.
deb: build
	@scripts/deb

# Service files, rc script and port, tried without their systems.
packaging-check: build
	@scripts/setup lint
	@scripts/packaging-check

# The Debian package in a clean Debian, by the quick start.
package-check: deb
	@scripts/setup package
	$(CARGO) build --release --locked -p colibri-test-vault
	@scripts/package-check

# The whole exploits of root in a jail, and a crash of bw, in a virtual machine.
vm-check: build
	@scripts/setup run vm
	$(CARGO) build --release --locked -p colibri-test-bw
	@scripts/vm-check

# The pages in docs/ as a book, target/book; their links alone.
book:
	@scripts/book

links:
	@scripts/book --links

# What the product is made of, target/sbom.
sbom:
	@scripts/sbom

# Two builds of the writer in different directories, compared.
reproducible:
	@scripts/reproducible

clean:
	$(CARGO) clean

.NOTPARALLEL:
.PHONY: all build install setup bw readers demo test test-bw fmt lint freebsd-check freebsd-bundle \
    bundle-check deny deb \
    packaging-check package-check vm-check book links sbom reproducible clean
