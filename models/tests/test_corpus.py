"""On the whole corpus, where it and an extraction of it are at hand; else skipped."""

import tomllib
from pathlib import Path

import pytest

from ntc_models import catalogue, data, ports

FLOWS = catalogue.MODELS / ".work" / "flows.parquet"
CORPUS = catalogue.MODELS.parent.parent / "shared" / "corpus"
LABELS = CORPUS / "train" / "labels.csv.zst"


def need(path, how):
    if not Path(path).exists():
        pytest.skip(f"{path} is not there: {how}")


@pytest.fixture(scope="module")
def labels():
    need(LABELS, "the corpus is beside the project's checkout")
    return data.read_labels(LABELS)


def test_the_catalogue_has_every_service_of_the_corpus(labels):
    rules = catalogue.ClassRules(catalogue.CLASSES)
    assert catalogue.missing(catalogue.read(), labels, rules, catalogue.read_ndpi_protocols()) == []


def test_every_labelled_flow_is_found_and_the_bundle_was_trained_on_them(labels):
    need(FLOWS, "`ntc extract CAPTURES -o models/.work/flows.parquet --flow-rule corpus` makes it")
    flows, joined = data.read_flows(FLOWS, labels, catalogue.ClassRules(catalogue.CLASSES))
    assert joined["joined"] >= 0.999 * joined["labelled"]
    manifest = tomllib.loads((catalogue.MODELS / "cnn-rnn-2a" / "model.toml").read_text())
    assert manifest["digest"]["training_data_sha256"] == flows.digest()
    assert manifest["output"]["labels"] == data.vocabulary(flows)


def test_the_committed_port_table_is_of_these_flows(labels):
    need(FLOWS, "`ntc extract CAPTURES -o models/.work/flows.parquet --flow-rule corpus` makes it")
    flows, _ = data.read_flows(FLOWS, labels, catalogue.ClassRules(catalogue.CLASSES))
    assert ports.COMMITTED.read_text() == ports.table_csv(ports.tables(flows))
