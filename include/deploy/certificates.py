"""The certificate with which a cluster's nodes encrypt what they send each other, as EMR takes it.

EMR wants a ZIP with a private key, its certificate and whom to trust, all in PEM (EMR Management Guide, "Providing
certificates for encrypting data in transit"). The nodes know each other by nothing else, so the certificate signs
itself. It lies in the bucket, readable by the clusters' instances alone, and is made anew before it ends.
"""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "certificates/nodes.zip"
"""Where the security configuration of the stack looks for it."""
VALID = timedelta(days=730)
RENEWED_BEFORE = timedelta(days=180)
"""Longer than anybody should go without `make deploy`."""
_ENDS = "not-after"


def is_due(s3: S3Client, bucket: str) -> bool:
    """Whether there is none, or one that ends soon."""
    try:
        ends = s3.head_object(Bucket=bucket, Key=KEY)["Metadata"].get(_ENDS)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return True
        raise
    return ends is None or datetime.fromisoformat(ends) - datetime.now(UTC) < RENEWED_BEFORE


def put(s3: S3Client, bucket: str, region: str) -> None:
    """Make one and put it into the bucket; it is written nowhere else."""
    ends = datetime.now(UTC) + VALID
    s3.put_object(Bucket=bucket, Key=KEY, Body=make(region, ends), Metadata={_ENDS: ends.isoformat()})


def make(region: str, ends: datetime) -> bytes:
    """A ZIP with a new key and its certificate.

    Args:
        region: nodes are called `ip-….<region>.compute.internal` there.
        ends: until when it is valid.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    domain = "*.ec2.internal" if region == "us-east-1" else f"*.{region}.compute.internal"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("privateKey.pem", private)
        archive.writestr("certificateChain.pem", certificate)
        archive.writestr("trustedCertificates.pem", certificate)
    return buffer.getvalue()
