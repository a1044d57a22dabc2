"""Training of ntc's traffic classifiers: `ntc extract`'s flows in, model bundles and the study out.

Read in this order; a module imports only from those before it:

    catalogue      services.csv: the stable ids, protocols and classes of services
    data           Parquet and labels -> tensor, vocabulary, folds by repository
    splits         which flows are held out
    ports          what ports say: the server's end, their scale as an input, the baseline's table, the default's prior
    architectures  the networks of the paper's Table I, layer by layer
    augment        what a stranger's network does to a flow
    evaluate       figures at service, protocol and class level
    train          one network of the paper, trained and calibrated
    residual       the default's network: behaviour, and ports as a prior
    learn          its training
    calibrate      its trust in ports and its temperatures, fitted on repositories not seen
    baselines      what a network has to beat
    runs           one run of the study: network or baseline, split, features, length, seed
    study          all runs, resumable
    folds          the default by repository: five networks, each asked about what it has not seen
    unmet          the default asked about generated flows of programs that were left out of its training
    ablation       models/ablation: what each idea of the default brings, beside its baselines
    redundancy     duplicates and label conflicts: what any model could attain
    report         docs/study: tables and plots beside the paper's figures
    trust          docs/model: when to believe the default
    card, export   the bundle: model.onnx, model.toml, vectors.json, card.md
    bundle         a bundle out of the study, or of the folds
    label          nDPI's labels for one's own captures, in an environment of its own
    adapters       CESNET's, MIRAGE's and NFStream's formats
    __main__       the command line
"""

import os

# One thread a process: on a busy machine of two cores two were 2 to 15 times slower. Read when NumPy is imported.
for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_library, "1")
