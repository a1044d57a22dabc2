# Asks the package index about the versions in lists of requirements: a line for each that was withdrawn or has a known
# weakness, and a last line that adds up. `# accepted: NAME, why` behind a version takes the weakness of that name for known.
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

from pip._internal.models.index import PyPI


def base():
    """The index that pip takes, in its other form."""
    named = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    url = named.stdout.strip() or PyPI.simple_url
    return re.sub(r"/simple/?$", "/pypi", url.rstrip("/"))


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


pinned = set()
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as lines:
        pinned.update(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:[ \t]+# accepted: ([^\s,]+),)?", lines.read(), re.MULTILINE))
index = base()
weak = accepted = withdrawn = untold = 0
for name, version, known in sorted(pinned):
    # Not every mirror answers about one version; about the newest one all do.
    about = ask(f"{index}/{name}/{version}/json")
    newest = about or ask(f"{index}/{name}/json")
    files = (about or {}).get("urls") or (newest or {}).get("releases", {}).get(version, [])
    if any(file.get("yanked") for file in files):
        withdrawn += 1
        print(f"Python package {name} {version}: yanked")
    if about is None and (newest is None or newest["info"]["version"] != version):
        untold += 1
        continue
    for found in newest.get("vulnerabilities") or []:
        names = [found["id"], *(found.get("aliases") or [])]
        if known in names:
            accepted += 1
        elif not found.get("withdrawn"):
            weak += 1
            print(f"Python package {name} {version}: {', '.join(names)}: {found.get('summary') or ''}".rstrip(": "))
print(
    f"{len(pinned)} pinned Python packages: {withdrawn} yanked, {weak} known weaknesses and {accepted} that are accepted; "
    f"of {untold} the index does not tell its weaknesses, since newer versions are out"
)
