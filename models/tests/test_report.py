import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch

from conftest import make_flows
from ntc_models import redundancy, report, runs, study, train


def test_figures_of_several_seeds():
    seeds = [{"accuracy": value, "off": None} for value in (0.90, 0.92, 0.97)]
    assert report.cell(seeds, "accuracy") == "0.930 ± 0.040"
    assert report.cell(seeds[:1], "accuracy") == "0.900"
    assert report.cell([], "accuracy") == report.MISSING and report.cell(seeds, "off") == "-"


def test_without_results_every_page_says_what_is_missing(tmp_path):
    written = report.write(tmp_path / "docs", study.Results(tmp_path), tmp_path / "data.json")
    pages = [path for path in written if path.suffix == ".md"]
    assert {path.name for path in pages} == {"architectures.md", "one-vs-rest.md", "features.md", "packets.md",
                                             "baselines.md", "strangers.md", "data.md"}
    for page in pages:
        assert report.MISSING in page.read_text(), page.name


@pytest.fixture
def with_results(tmp_path, services, monkeypatch):
    monkeypatch.setitem(train.RECIPES, "paper", replace(train.PAPER, batch=64))
    corpus = runs.Corpus.of(make_flows(480, seed=4, repositories=60), services)
    results = study.Results(tmp_path / "results")
    for split in study.TWO_SPLITS:
        for name in ("majority", "port-table"):
            study.run_one(runs.Run(name, split), corpus.flows, services, tmp_path, torch.device("cpu"), results)
    run = runs.Run("cnn-rnn-2a", "random")
    short, _ = runs.execute(replace(run, epochs=1), corpus, tmp_path, torch.device("cpu"), say=lambda text: None)
    results.put(run, {**short, "id": run.id})
    facts = tmp_path / "data.json"
    facts.write_text(json.dumps(redundancy.report(corpus.flows)))
    return results, facts


def test_what_is_there_is_shown_the_same_each_time(with_results, tmp_path):
    first = {path.name: path.read_bytes() for path in report.write(tmp_path / "a", *with_results)}
    assert first == {path.name: path.read_bytes() for path in report.write(tmp_path / "b", *with_results)}
    baselines = first["baselines.md"].decode()
    assert "| port table | 1.000 | 1.000 | 1.000 |" in baselines and "| most frequent label | 0.5" in baselines
    accuracy = with_results[0].get(runs.Run("cnn-rnn-2a", "random"))["figures"]["protocol"]["accuracy"]
    assert f"| CNN+RNN-2a | {accuracy:.3f} |" in first["architectures.md"].decode()
    assert "480 flows" in first["data.md"].decode()


def test_plots_are_whole_and_every_page_finds_its_own(with_results, tmp_path):
    folder = tmp_path / "docs"
    for path in report.write(folder, *with_results):
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        else:
            for plot in re.findall(r"!\[[^]]*\]\(([^)]*)\)", path.read_text()):
                assert (folder / plot).exists()
