"""The certificate for the encryption of traffic between a cluster's nodes.

EMR reads a ZIP archive with a private key, its certificate and the trusted certificates in PEM format (EMR Management
Guide, "Providing certificates for encrypting data in transit"). The nodes verify only each other, so the certificate is
self-signed. It is stored in the bucket, where only the clusters' instances may read it. `make deploy` renews it.
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
"""Key that the stack's security configuration names."""
VALIDITY = timedelta(days=730)
RENEWAL_PERIOD = timedelta(days=180)
"""Time before the expiry in which `make deploy` renews the certificate. Deploy at least twice a year."""
_EXPIRY_METADATA = "not-after"


def is_due(s3: S3Client, bucket: str) -> bool:
    """Return whether the certificate is missing or expires soon."""
    try:
        expiry = s3.head_object(Bucket=bucket, Key=KEY)["Metadata"].get(_EXPIRY_METADATA)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            return True
        raise
    return expiry is None or datetime.fromisoformat(expiry) - datetime.now(UTC) < RENEWAL_PERIOD


def put(s3: S3Client, bucket: str, region: str) -> None:
    """Create a certificate and upload it. The private key is written nowhere else."""
    expiry = datetime.now(UTC) + VALIDITY
    s3.put_object(Bucket=bucket, Key=KEY, Body=make(region, expiry), Metadata={_EXPIRY_METADATA: expiry.isoformat()})


def make(region: str, expiry: datetime) -> bytes:
    """Return a ZIP archive with a new key and its certificate.

    Args:
        region: Region of the nodes, which is part of their host names (`ip-….<region>.compute.internal`).
        expiry: End of the certificate's validity.
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
        .not_valid_after(expiry)
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
