"""A key and a certificate for it, `python -m traffic.keys FOLDER`: key.pem, certificate.pem, and
its fingerprint."""

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.net")])
today = datetime.datetime.now(datetime.UTC)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(x509.random_serial_number()).not_valid_before(today - datetime.timedelta(days=1))
    .not_valid_after(today + datetime.timedelta(days=2))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("www.example.net"), x509.DNSName("*.example.net")]), False)
    .sign(key, hashes.SHA256()))
folder = Path(sys.argv[1])
(folder / "key.pem").write_bytes(key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
(folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
(folder / "fingerprint").write_text(certificate.fingerprint(hashes.SHA256()).hex(":"))
