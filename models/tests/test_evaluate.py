import numpy as np
import pytest

from ntc_models import evaluate

LABELS = ["DNS", "HTTP", "TLS", "TLS.Google"]


def test_the_protocol_with_the_highest_sum_is_the_answer(services):
    answers = evaluate.answer(np.array([[0.0, 0.4, 0.25, 0.35]], dtype=np.float32), LABELS, services)
    assert (answers.service[0], answers.protocol[0], answers.traffic_class[0]) == ("TLS.Google", "TLS", "web")
    assert answers.confidence[0] == pytest.approx(0.6) and answers.service_confidence[0] == pytest.approx(0.35)


def test_scores_by_hand():
    truth = np.array(["a"] * 6 + ["b"] * 3 + ["c"], dtype=object)
    said = np.array(["a"] * 5 + ["b"] + ["b", "b", "a"] + ["a"], dtype=object)
    found = evaluate.scores(truth, said)
    f1_a, f1_b = 2 * 5 / (7 + 6), 2 * 2 / (3 + 3)
    assert found["accuracy"] == found["weighted_recall"] == pytest.approx(0.7)
    assert found["weighted_f1"] == pytest.approx(0.6 * f1_a + 0.3 * f1_b)
    assert found["macro_f1"] == pytest.approx(f1_a)  # only `a` has five flows
    assert found["weighted_precision"] == pytest.approx(0.6 * 5 / 7 + 0.3 * 2 / 3)


def test_silence_is_wrong():
    assert evaluate.scores(np.array(["a", "a"], dtype=object), np.array(["a", None], dtype=object))["accuracy"] == 0.5


def test_calibration_error():
    confidence = np.full(1500, 0.8)  # 15 bins of 100
    assert evaluate.calibration_error(np.arange(1500) % 5 != 0, confidence) == pytest.approx(0, abs=1e-6)
    assert evaluate.calibration_error(np.zeros(1500), confidence) == pytest.approx(0.8)


def test_area_under_roc():
    positive = np.array([True, True, False, False])
    assert evaluate.area_under_roc(positive, np.array([4, 3, 2, 1])) == 1
    assert evaluate.area_under_roc(positive, np.array([1, 1, 1, 1])) == 0.5
    assert evaluate.area_under_roc(np.array([True, True]), np.array([1, 2])) is None


def test_flows_with_unknown_labels_are_wrong_and_given_apart(flows, services):
    labels = ["DNS", "HTTP", "TLS"]  # not TLS.Google
    probabilities = np.stack([flows.protocol == name for name in labels], 1).astype(np.float32)
    answers = evaluate.answer(probabilities, labels, services)
    nothing = np.full(len(flows), None)
    service = evaluate.evaluate(flows, answers, labels, services, "service", nothing)
    assert (service["flows"], service["known_flows"]) == (240, 180)
    assert (service["accuracy"], service["known_accuracy"]) == (0.75, 1.0)
    # The port table is silent of all: every known flow is off-port, the unknown ones are not.
    assert (service["off_port_flows"], service["off_port_accuracy"]) == (180, 1.0)
    assert evaluate.evaluate(flows, answers, labels, services, "protocol", nothing)["accuracy"] == 1.0


def test_off_port_flows_are_those_that_the_table_has_wrong(flows, services):
    labels = list(services)
    table = flows.protocol.copy()
    table[flows.protocol == "DNS"] = "HTTP"
    table[flows.protocol == "HTTP"] = None
    said = flows.service.copy()
    said[flows.service == "DNS"] = "TLS"
    probabilities = np.stack([said == name for name in labels], 1).astype(np.float32)
    found = evaluate.evaluate(flows, evaluate.answer(probabilities, labels, services), labels, services, "protocol",
                              table)
    assert found["off_port_flows"] == 120 and found["off_port_accuracy"] == 0.5
    table = flows.protocol
    found = evaluate.evaluate(flows, evaluate.answer(probabilities, labels, services), labels, services, "protocol",
                              table)
    assert found["off_port_flows"] == 0 and found["off_port_accuracy"] is None


def test_the_surest_nine_tenths(flows, services):
    labels = list(services)
    right = np.arange(240) >= 24  # the 24 least sure are wrong
    probabilities = np.full((240, 4), 0.0, dtype=np.float32)
    for row, name in enumerate(flows.service):
        said = labels.index(name) if right[row] else (labels.index(name) + 1) % 4
        probabilities[row, said] = 0.9 if right[row] else 0.3
    found = evaluate.evaluate(flows, evaluate.answer(probabilities, labels, services), labels, services, "service",
                              flows.service)
    assert found["coverage_90_accuracy"] == 1.0 and found["accuracy"] == pytest.approx(0.9)


def test_one_vs_rest_by_hand():
    truth = np.array(["a", "a", "a", "b", "b", "c"], dtype=object)
    said = np.array(["a", "a", "b", "b", "a", "a"], dtype=object)
    a, d = evaluate.one_vs_rest(truth, said, ["a", "d"])
    assert (a["flows"], a["share"], a["accuracy"]) == (3, 0.5, 0.5)
    assert (a["precision"], a["recall"], a["f1"]) == (0.5, pytest.approx(2 / 3), pytest.approx(4 / 7))
    assert (d["flows"], d["accuracy"], d["recall"], d["f1"]) == (0, 1.0, None, None)


def test_the_most_frequent_labels():
    assert evaluate.most_frequent(["b", "a", "c", "c", "a", "d"], 3) == ["a", "c", "b"]


def test_the_interval_is_of_whole_groups():
    truth = np.array(["a"] * 100, dtype=object)
    said = np.array(["a"] * 50 + ["b"] * 50, dtype=object)
    scattered = evaluate.interval(truth, said, np.arange(100))["accuracy"]
    blocks = evaluate.interval(truth, said, np.repeat([0, 1], 50))["accuracy"]
    assert blocks == [0.0, 1.0]
    assert 0.35 < scattered[0] < 0.45 and 0.55 < scattered[1] < 0.65
