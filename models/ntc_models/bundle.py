"""A bundle out of the study: the network that was trained on all flows, with the figures of its like by repository.

    by-repository, strangers' recipe  temperature, least confidence and the headline figures
    all, strangers' recipe            the network that ships
    random, paper's recipe            for comparison with papers
"""

from . import card, evaluate, export, folds, learn, residual, runs, study, train

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
    missing = study.todo([final], corpus.flows, results)
    shipped, trained = runs.execute(final, corpus, work, device, say)
    if missing:
        results.put(final, shipped)
    shipped = results.get(final)  # where the study trained it, also by what
    strangers = found["strangers"]
    export.write_bundle(
        out, architecture=name, network=trained.network, labels=trained.labels, catalogue=corpus.catalogue,
        temperature=strangers["temperature"], min_confidence=strangers["min_confidence"], flows=corpus.flows,
        training={"run": final.id, "epochs": final.epochs, "seed": final.seed, "recipe": final.recipe,
                  "device": shipped["device"], "split_sha256": strangers["split_sha256"], "code_sha256": shipped["code_sha256"]},
        evaluation={"by_repository": beside(found, "strangers", "by-repository"),
                    "random": beside(found, "random", "random"), "answered": strangers["answered"],
                    "all": on_all(trained, corpus, strangers["temperature"])},
        by_protocol=strangers["by_protocol"])


def make_residual(out, corpus, work, say=print):
    """The default: `residual-prior`, trained on all flows; calibrated, and judged, by networks of the five folds by
    repository.
    """
    flows, catalogue = corpus.flows, corpus.catalogue
    judged, recipe, seed = folds.variant(folds.DEFAULT), folds.variant(folds.SHIPPED), folds.SEEDS[0]
    parts = [folds.Fold(name, flows, catalogue, judged.confirmed) for name in folds.SPLITS]
    crossed = folds.Crossed(judged, seed, parts, catalogue, work, say)
    said = folds.answers(crossed.probabilities, parts, catalogue)
    labels = folds.vocabulary(flows, catalogue, recipe.confirmed)
    network = folds.network_of("all", flows, labels, recipe, seed, catalogue, work, say)
    network.trust.copy_(crossed.final[0])
    network.temperature.copy_(crossed.final[1])
    wanted, guess, repos, off_port, confidence = folds.pooled(said, parts, catalogue)
    weight = train.pair_weights(repos, wanted)
    least = runs.least(confidence, wanted == guess, weight)
    strangers = folds.mean_over_folds(folds.figures(said, parts, catalogue))
    table = folds.mean_over_folds(folds.figures(folds.port_table(parts), parts, catalogue))
    given = confidence >= least
    export.write_bundle(
        out, architecture=residual.NAME, network=network, labels=labels, catalogue=catalogue, temperature=1.0,
        method="trust in ports, and a temperature by state of the ports and number of packets, in the graph: fitted "
               "on repositories not trained on", min_confidence=least, flows=flows,
        training={"recipe": folds.SHIPPED, "judged_by": folds.DEFAULT, "judged_labels": [len(part.labels) for part in parts], **learn.describe(recipe), "seed": seed,
                  "trust": [round(float(value), 4) for value in crossed.final[0]],
                  "temperatures": [round(float(value), 4) for value in crossed.final[1]]},
        evaluation={"folds": strangers, "port_table": table,
                    "interval": evaluate.interval(wanted, guess, repos),
                    "answered": {"share": float(given.mean()), "accuracy": evaluate.mean((wanted == guess)[given])},
                    "all": on_all(train.Trained(network, labels, []), corpus, 1.0)},
        by_protocol=folds.by_protocol(wanted, guess), text=card.card_of_residual)


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
