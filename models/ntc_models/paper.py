"""What Lopez-Martin et al. 2017 report (doi 10.1109/ACCESS.2017.2747560), to set ours beside.

Their data are 266,160 flows of one network, 108 services, split at random; ours are other flows with other labels, so
the figures are no race.
"""

FIGURES = ("accuracy", "weighted_f1", "weighted_precision", "weighted_recall")
# Figure 7: the best model, CNN+RNN-2a. The same four figures are Table II's without time.
BEST = {"accuracy": 0.9632, "weighted_f1": 0.9574, "weighted_precision": 0.9543, "weighted_recall": 0.9632}
# Figure 8: one-vs-rest of the 15 most frequent services.
ONE_VS_REST = "accuracy above 0.98 and F1 above 0.96 for every label above 1% frequency; mean accuracy 0.9959"
ONE_VS_REST_MEAN_ACCURACY = 0.9959
# Table II, by the names of `runs.FEATURE_SETS`.
FEATURES = {
    "all": {"accuracy": 0.9612, "weighted_f1": 0.9553, "weighted_precision": 0.9527, "weighted_recall": 0.9612},
    "no-time": {"accuracy": 0.9632, "weighted_f1": 0.9574, "weighted_precision": 0.9543, "weighted_recall": 0.9632},
    "no-ports": {"accuracy": 0.8388, "weighted_f1": 0.8170, "weighted_precision": 0.8279, "weighted_recall": 0.8388},
    "no-ports-no-time": {"accuracy": 0.8202, "weighted_f1": 0.7943, "weighted_precision": 0.7909,
                         "weighted_recall": 0.8202},
    "no-ports-no-window": {"accuracy": 0.7855, "weighted_f1": 0.7500, "weighted_precision": 0.7433,
                           "weighted_recall": 0.7855},
}
# Figures 10 and 11, in words; the paper gives no table of them.
PACKETS = {"rnn-1": "quality holds until fewer than 5 packets",
           "cnn-rnn-2a": "roughly constant from 7 to 15 packets, best at 20"}
EPOCHS = "60 to 90, stopped when the last 10 did not improve the loss"
