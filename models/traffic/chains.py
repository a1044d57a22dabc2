"""Certificates as authorities give them, `python -m traffic.chains FOLDER SEED [large|quantum]`: root.pem, server.pem with its
issuers, and server.key, likewise client.pem and client.key. How many issuers there are, their keys and how much they say are drawn:
`large` has longer keys, more issuers and more names, `quantum` keys of ML-DSA.
"""

import datetime
import random
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.x509 import NameOID

folder, draw = Path(sys.argv[1]), random.Random(sys.argv[2])
size = sys.argv[3] if len(sys.argv) > 3 else ""
today = datetime.datetime.now(datetime.UTC)


def word():
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 20)))


def new_key():
    if size == "quantum":
        return draw.choice((mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey)).generate()
    if size == "large":
        return rsa.generate_private_key(65537, draw.choice((2048, 3072, 4096)))
    kind = draw.choice(("p256", "p256", "p384", "rsa", "rsa"))
    if kind == "rsa":
        return rsa.generate_private_key(65537, draw.choice((2048, 2048, 3072)))
    return ec.generate_private_key(ec.SECP256R1() if kind == "p256" else ec.SECP384R1())


def certify(name, issuer, issuer_key, authority, names=()):
    """A key and a certificate for it; without an issuer it is its own."""
    key = new_key()
    told = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if draw.random() < 0.6:
        told += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{word()} {word()}"), x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
                 x509.NameAttribute(NameOID.LOCALITY_NAME, word())]
    subject = x509.Name(told)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1)).not_valid_after(today + datetime.timedelta(days=3))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if draw.random() < 0.5:
        builder = builder.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
            x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"http://{word()}.example.org/"))]), False)
    return key, builder.sign(issuer_key or key, None if size == "quantum" else hashes.SHA256())


def write(name, key, chain):
    (folder / f"{name}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (folder / f"{name}.pem").write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))


root_key, root = certify(f"{word()} root", None, None, True)
issuers = [(root_key, root)]
for _ in range(draw.choice((1, 2, 3, 4) if size == "large" else (0, 1, 1, 2, 3))):
    key, issuer = issuers[-1]
    issuers.append(certify(f"{word()} {word()} authority", issuer, key, True))
between = [issuer for _, issuer in reversed(issuers[1:])]
if draw.random() < 0.2:
    between.append(root)  # Many send it along, though nobody needs it.
key, issuer = issuers[-1]
most = 400 if size == "large" else 40
names = ["*.example.net", "www.example.net", *(f"{word()}.example.net" for _ in range(int(most * draw.random() ** 3)))]
own, certificate = certify("www.example.net", issuer, key, False, names)
write("server", own, [certificate, *between])
own, certificate = certify(word(), issuer, key, False, [f"{word()}.example.net"])
write("client", own, [certificate, *between])
(folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
