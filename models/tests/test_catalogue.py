import pytest

from ntc_models import catalogue

NDPI = "id,name\n5,DNS\n7,HTTP\n91,TLS\n126,Google\n"
CLASSES = "protocol,category,class\nTLS,Video,streaming\nDNS,*,management\n*,*,web\n"


def rows(label, category, count, rank=1):
    return [{"label": label, "category": category, "rank": str(rank)}] * count


@pytest.fixture
def files(tmp_path):
    (tmp_path / "ndpi.csv").write_text(NDPI)
    (tmp_path / "classes.csv").write_text(CLASSES)
    rules = catalogue.ClassRules(tmp_path / "classes.csv")
    path = tmp_path / "services.csv"
    return lambda flows: (catalogue.extend(flows, rules, path, tmp_path / "ndpi.csv"), path.read_text())


def test_protocols_have_ndpis_ids_and_composed_names_follow_in_order(files):
    flows = rows("TLS.Video", "Video", 10) + rows("TLS.Google", "Web", 10) + rows("DNS.Google", "Network", 1)
    _, text = files(flows)
    assert text.splitlines() == [
        "0,unknown,unknown,unknown",
        "5,DNS,DNS,management",
        "91,TLS,TLS,streaming",
        "1024,TLS.Video,TLS,streaming",
        "1025,TLS.Google,TLS,web",
    ]


def test_the_file_only_grows(files):
    _, before = files(rows("TLS.Google", "Web", 10))
    added, after = files(rows("HTTP.Google", "Web", 10) + rows("TLS.Google", "Video", 99))
    assert after.startswith(before)
    assert [(service.id, service.name) for service in added] == [(7, "HTTP"), (1025, "HTTP.Google")]
    assert files(rows("TLS.Google", "Web", 10))[0] == []


def test_rare_and_repeated_names_do_not_enter(files):
    _, text = files(rows("TLS.Google", "Web", 9) + rows("TLS.Video", "Web", 50, rank=301))
    assert "TLS." not in text


def test_the_first_matching_class_wins_and_the_most_frequent_category_counts(files):
    _, text = files(rows("TLS.Google", "Video", 3) + rows("TLS.Google", "Web", 9))
    assert "1024,TLS.Google,TLS,web" in text


def test_the_shipped_catalogue_keeps_its_rules():
    services = catalogue.read()
    ndpi = catalogue.read_ndpi_protocols()
    for service in services.values():
        assert service.id < catalogue.END_OF_IDS
        if service.id == 0:
            continue
        assert service.protocol == catalogue.protocol_of(service.name)
        if service.name == service.protocol:
            assert service.id == ndpi[service.name]
        else:
            assert service.id >= catalogue.FIRST_COMPOSED_ID
    assert {services[name].id for name in ("DNS", "HTTP", "TLS", "SSH")} == {5, 7, 91, 92}
    assert services["TLS.Mozilla"].id == 1024


def test_a_broken_catalogue_is_refused(tmp_path):
    path = tmp_path / "services.csv"
    path.write_text("0,unknown,unknown,unknown\n5,DNS,DNS,management\n5,HTTP,HTTP,web\n")
    with pytest.raises(ValueError, match="twice"):
        catalogue.read(path)
