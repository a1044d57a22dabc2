"""Through proxies: requests with PySocks, and with CONNECT."""

from . import main
from .web import PATHS


def fetch(work, proxy, base):
    import requests

    requests.packages.urllib3.disable_warnings()
    session = requests.Session()
    session.verify, session.trust_env = False, False
    session.proxies = {"http": proxy, "https": proxy}
    for _ in range(work.count(1, 5)):
        if work.random.random() < 0.2:
            session.post(base + "/api/v1/items", data=work.bytes(20, 20_000), timeout=15)
        else:
            session.get(base + work.pick(*PATHS), timeout=15)
        work.think()


def socks_client(work):
    """The proxy fetches from its own host."""
    fetch(work, f"{work.pick('socks5', 'socks5h')}://{work.url_host}:{work.port}", "http://127.0.0.1:61234")


def connect_client(work):
    fetch(work, f"http://{work.url_host}:{work.port}", "https://127.0.0.1:61235")


if __name__ == "__main__":
    main(globals())
