"""A bundle out of the study: the network that was trained on all flows, with the figures of its like by repository.

    by-repository, strangers' recipe  temperature, least confidence and the headline figures
    all, strangers' recipe            the network that ships
    random, paper's recipe            for comparison with papers
"""

from . import evaluate, export, runs, study, train

BASELINES = {"majority": "majority", "port_table": "port-table"}  # in the manifest: the run's architecture


def make(name, out, corpus, work, device, results, say=print):
    """Does the runs that have no result yet and writes the bundle's folder."""
    wanted = {"strangers": runs.Run(name, "by-repository", recipe="strangers"), "random": runs.Run(name, "random"),
              **{f"{split}/{key}": runs.Run(baseline, split) for split in study.TWO_SPLITS
                 for key, baseline in BASELINES.items()}}
    for run in study.todo(list(wanted.values()), corpus.flows, results):
        study.run_one(run, corpus.flows, corpus.catalogue, work, device, results)
    found = {key: results.get(run) for key, run in wanted.items()}
    # Goes on from its checkpoint, so that nothing is trained twice where the study did it already.
    final = runs.Run(name, "all", recipe="strangers")
    shipped, trained = runs.execute(final, corpus, work, device, say)
    results.put(final, shipped)
    strangers = found["strangers"]
    export.write_bundle(
        out, architecture=name, network=trained.network, labels=trained.labels, catalogue=corpus.catalogue,
        temperature=strangers["temperature"], min_confidence=strangers["min_confidence"], flows=corpus.flows,
        training={"run": final.id, "epochs": final.epochs, "seed": final.seed, "recipe": final.recipe,
                  "split_sha256": strangers["split_sha256"], "code_sha256": shipped["code_sha256"]},
        evaluation={"by_repository": beside(found, "strangers", "by-repository"),
                    "random": beside(found, "random", "random"), "answered": strangers["answered"],
                    "all": on_all(trained, corpus, strangers["temperature"])},
        by_protocol=strangers["by_protocol"])


def on_all(trained, corpus, temperature):
    """PyTorch's figures of the network that ships, on all that it was trained on: no measure of how good it is, but
    what `ntc eval` has to find as well.
    """
    probability = train.probabilities(train.logits_of(trained.network, corpus.flows.packets, "cpu"), temperature)
    answers = evaluate.answer(probability, trained.labels, corpus.catalogue)
    return {level: evaluate.evaluate(corpus.flows, answers, trained.labels, corpus.catalogue, level,
                                     corpus.port_labels[level]) for level in evaluate.LEVELS}


def beside(found, key, split):
    """The figures of a run with those of its baselines at each level."""
    return {level: {**figures, **{name: found[f"{split}/{name}"]["figures"][level] for name in BASELINES}}
            for level, figures in found[key]["figures"].items()}
