"""Small files in the formats of public data sets, made up; the sets themselves were not run."""

import gzip
import json

import numpy as np

from ntc_models import adapters
from ntc_models.data import DIRECTION, DST_PORT, GAP, PAYLOAD, SRC_PORT, WINDOW

CESNET = """ID,SRC_IP,DST_IP,DST_ASN,SRC_PORT,DST_PORT,PROTOCOL,TIME_FIRST,PPI,PPI_LEN,APP,CATEGORY
1,192.0.2.1,198.51.100.1,64500,50000,443,17,2022-11-21T00:00:00.000001,"[[0, 12, 3], [1, -1, 1], [1200, 1350, 60]]",3,youtube,Streaming media
2,192.0.2.1,198.51.100.2,64500,50001,443,6,2022-11-21T00:00:01.000001,"[[0, 5], [1, 1], [517, 10], [1, 1]]",2,spotify,Music
"""

MIRAGE = {
    "192.0.2.9,51221,198.51.100.3,443,6": {
        "packet_data": {"src_port": [51221, 443], "dst_port": [443, 51221], "packet_dir": [0, 1],
                        "L4_payload_bytes": [517, 1368], "iat": [0, 0.05], "TCP_win_size": [1544, 725]},
        "flow_metadata": {"BF_label": "com.spotify.music"}},
    "192.0.2.9,40000,198.51.100.3,443,17": {
        "packet_data": {"src_port": [443] * 25, "dst_port": [40000] * 25, "packet_dir": [1] + [0] * 24,
                        "L4_payload_bytes": list(range(25)), "iat": [0] + [1e-6] * 24, "TCP_win_size": [0] * 25},
        "flow_metadata": {"BF_label": "com.spotify.music"}},
}

NFSTREAM = """id,src_ip,src_port,dst_ip,dst_port,protocol,application_name,application_category_name,application_is_guessed,splt_direction,splt_ps,splt_piat_ms
0,192.0.2.1,40000,198.51.100.1,53,17,DNS.Google,Network,0,"[0, 1, -1]","[29, 45, -1]","[0, 5, -1]"
1,192.0.2.1,40001,198.51.100.1,9,17,Unknown,Unspecified,0,"[0, -1, -1]","[29, -1, -1]","[0, -1, -1]"
2,192.0.2.1,40002,198.51.100.1,443,6,TLS,Web,1,"[0, -1, -1]","[0, -1, -1]","[0, -1, -1]"
"""


def test_cesnet(tmp_path):
    path = tmp_path / "flows-1.csv.gz"
    path.write_bytes(gzip.compress(CESNET.encode()))
    flows = adapters.cesnet(path)
    assert list(flows.service) == ["youtube", "spotify"] and list(flows.proto) == [17, 6]
    assert list(flows.length) == [3, 2] and flows.traffic_class[1] == "Music"
    first = flows.packets[0]
    assert first[:4, SRC_PORT].tolist() == [50000, 443, 50000, 0]
    assert first[:4, DST_PORT].tolist() == [443, 50000, 443, 0]
    assert first[:4, PAYLOAD].tolist() == [1200, 1350, 60, 0]
    assert first[:4, GAP].tolist() == [0, 12_000, 3_000, 0]
    assert first[:4, DIRECTION].tolist() == [0, 1, 0, 0] and not first[:, WINDOW].any()


def test_mirage(tmp_path):
    path = tmp_path / "1_com.spotify.music_biflows.json"
    path.write_text(json.dumps(MIRAGE))
    flows = adapters.mirage(path)
    assert list(flows.service) == ["com_spotify_music"] * 2
    tcp, udp = flows.packets
    assert tcp[:2, WINDOW].tolist() == [1544, 725] and np.allclose(tcp[:2, GAP], [0, 50_000])
    # It began with a reply: direction 0 is the first packet's.
    assert udp[:2, DIRECTION].tolist() == [0, 1] and udp[:2, SRC_PORT].tolist() == [443, 40000]
    assert flows.length[1] == 20 and udp[19, PAYLOAD] == 19


def test_nfstream_without_guesses(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(NFSTREAM)
    flows = adapters.nfstream(path)
    assert list(flows.service) == ["DNS_Google"] and flows.length[0] == 2
    assert flows.packets[0, :3, PAYLOAD].tolist() == [29, 45, 0] and flows.packets[0, 1, GAP] == 5_000


def test_each_set_has_its_own_catalogue(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(CESNET)
    services = adapters.catalogue_of(adapters.cesnet(path))
    assert [(service.id, service.name, service.protocol) for service in services.values()] == [
        (1, "spotify", "spotify"), (2, "youtube", "youtube")]


def test_no_flow_is_a_set_too(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(CESNET.splitlines()[0])
    assert len(adapters.cesnet(path)) == 0
