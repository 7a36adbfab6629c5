"""Evaluation as a program: what eager evaluation finds, made once, and read once."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from hpcad import nn, optim, parallel
from hpcad.backend import get_backend, strict
from hpcad.data import ArrayDataset
from hpcad.errors import ConfigError, ShapeError
from hpcad.models import CNN, MLP, CharGPT, CharGPTConfig, CNNConfig, MLPConfig
from hpcad.models.classifier import Classifier
from hpcad.training import Prepare
from hpcad.training.evaluation import Evaluation

BATCH, SAMPLES = 16, 40  # two full batches, and one of 8
random = np.random.default_rng(0)
IMAGES = random.standard_normal((SAMPLES, 8, 8)).astype(np.float32)
LABELS = random.integers(0, 10, SAMPLES)
TEXT = random.integers(0, 7, (SAMPLES, 12))


class Normalised(Classifier):
    """Batch normalisation and dropout, which training and evaluation do differently."""

    def __init__(self):
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm(12), nn.relu, nn.Dropout(0.5, "drop"),
            nn.Linear(12, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


MODELS = {
    "mlp": lambda: MLP(MLPConfig([32], dropout=0.3), 64, 10),
    "cnn": lambda: CNN(CNNConfig([4], 8), (8, 8), 10),
    "batch norm": Normalised,
    "gpt": lambda: CharGPT(CharGPTConfig(layers=1, heads=2, width=16, dropout=0.2), 7, 12),
}


class Case:
    """A model on a device, a dataset, and evaluations of it."""

    def __init__(self, kind, device="cpu", metrics=None, labels=LABELS, samples=SAMPLES):
        self.backend = get_backend(device)
        self.model = MODELS[kind]()
        self.model.initialize(1, np.float32, self.backend)
        self.optimizer = optim.SGD(self.model, 0.5)
        self.metrics = metrics or (lambda model, batch: model.evaluate(batch))
        real = kind != "gpt"
        x, y = (IMAGES, labels) if real else (TEXT, (TEXT + 1) % 7)
        self.test = ArrayDataset({"x": x[:samples], "y": y[:samples]})
        self.prepare = Prepare(np.float32, real_input=real, backend=self.backend)

    def evaluation(self, compile=True):
        return Evaluation(
            self.model, self.metrics, self.prepare, parallel.init(), batch=BATCH, compile=compile
        )

    def eager(self):
        return self.evaluation(compile=False)(self.test)

    def train(self):
        """A step that moves parameters and running averages."""
        batch = self.prepare(
            {name: np.array(a) for name, a in self.test.read(np.arange(16)).items()}
        )
        with nn.training_step(seed=0, step=0, ids=np.arange(16)):
            self.model.loss(batch).backward()
        self.optimizer.step()


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    np.testing.assert_allclose(
        [found[name] for name in expected], list(expected.values()), rtol=1e-6
    )


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_program_finds_what_eager_evaluation_does_and_follows_the_model(kind, device):
    case = Case(kind, device)
    evaluation = case.evaluation()
    first = evaluation(case.test)
    assert_same(first, case.eager())
    case.train()
    second = evaluation(case.test)
    assert_same(second, case.eager())
    assert abs(second["loss"] - first["loss"]) > 1e-3
    assert second == evaluation(case.test)  # nothing is drawn
    (entry,) = evaluation._compiled._entries.values()
    assert (entry.builds, entry.obstacle) == (1, None)


def test_running_averages_are_those_of_now():
    case = Case("batch norm")
    evaluation = case.evaluation()
    first = evaluation(case.test)
    norm = case.model.layers.stages[2]
    norm.running_mean.assign(norm.running_mean.numpy() + 0.7)
    second = evaluation(case.test)
    assert abs(second["loss"] - first["loss"]) > 1e-3
    assert_same(second, case.eager())


def test_the_memory_of_a_program_is_told_and_kept():
    case = Case("cnn")
    evaluation = case.evaluation()
    assert evaluation.program_bytes == 0
    evaluation(case.test)
    held = evaluation.program_bytes
    assert held >= BATCH * 6 * 6 * 4 * 4  # the feature maps of the convolution
    evaluation(case.test)
    assert evaluation.program_bytes == held
    assert case.evaluation(compile=False).program_bytes == 0


def test_metrics_that_take_values_out_stay_eager_and_one_line_says_so(caplog):
    def metrics(model, batch):
        logits = model(batch["x"])
        return {"largest": float(logits.numpy().max()), "count": len(batch["y"])}

    case = Case("mlp", metrics=metrics)
    evaluation = case.evaluation()
    with caplog.at_level(logging.WARNING, "hpcad"):
        found = [evaluation(case.test) for _ in range(2)]
    (record,) = caplog.records
    assert record.getMessage().startswith("the evaluation stays eager: ")
    assert "test_evaluation.py" in record.getMessage()
    assert found == [case.eager()] * 2


def test_sums_without_their_count_are_refused():
    case = Case("mlp", metrics=lambda model, batch: {"loss": model.loss(batch)})
    with pytest.raises(ConfigError, match="among them 'count'"):
        case.evaluation()(case.test)


def test_a_dataset_without_a_full_batch_needs_no_program():
    case = Case("mlp", samples=BATCH - 1)
    evaluation = case.evaluation()
    assert_same(evaluation(case.test), case.eager())
    assert evaluation.program_bytes == 0


# -- on a device -----------------------------------------------------------------------------------


def test_sums_stay_on_the_device_until_the_end():
    reads = {}
    for samples in (2 * BATCH, 6 * BATCH):
        case = Case("mlp", "strict")
        x, y = np.resize(IMAGES, (samples, 8, 8)), np.resize(LABELS, samples)
        case.test = ArrayDataset({"x": x, "y": y})
        evaluation = case.evaluation()
        evaluation(case.test)
        before = strict.COUNTS.copy()
        evaluation(case.test)
        reads[samples] = strict.COUNTS - before
    few, many = reads.values()
    assert many.graph_launches == few.graph_launches + 4
    assert many.synchronisations == few.synchronisations <= 3
    assert many.device_to_host - few.device_to_host <= 4  # labels that mean nothing, told behind


def test_a_label_that_is_no_class_is_told_of_at_the_end():
    case = Case("mlp", "strict")
    evaluation = case.evaluation()
    evaluation(case.test)
    wrong = LABELS.copy()
    wrong[BATCH + 3] = 10
    with pytest.raises(ShapeError, match="a label does not fit 10 classes"):
        evaluation(Case("mlp", "strict", labels=wrong).test)
