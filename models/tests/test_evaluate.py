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
    service = evaluate.evaluate(flows, answers, labels, services, "service")
    assert (service["flows"], service["known_flows"]) == (240, 180)
    assert (service["accuracy"], service["known_accuracy"]) == (0.75, 1.0)
    assert evaluate.evaluate(flows, answers, labels, services, "protocol")["accuracy"] == 1.0
