import numpy as np
from conftest import make_flows

from ntc_models import unmet


def spoken(service, pairs):
    flows = make_flows(len(pairs), seed=1)
    flows.service = np.array(service, dtype=object)
    flows.repo = np.array([f"generated/{pair}" for pair in pairs], dtype=object)
    return flows


def test_one_pair_of_each_service_that_several_speak_is_left_out():
    flows = spoken(["DNS", "DNS", "DNS", "NTP", "NTP"], ["knot", "unbound", "knot", "ntpd", "ntpd"])
    out, judged = unmet.left_out(flows)
    assert (out == judged).all()
    assert set(flows.repo[out]) in ({"generated/knot"}, {"generated/unbound"})
    assert not out[3:].any()


def test_a_pair_is_left_out_with_all_that_it_speaks_but_judged_by_what_others_speak_too():
    flows = spoken(["FTP_CONTROL", "FTP_DATA", "FTP_CONTROL"], ["one", "one", "two"])
    out, judged = unmet.left_out(flows)
    assert not judged[1]
    assert (out[0], out[1]) in ((True, True), (False, False)) and out[2] != out[0]
