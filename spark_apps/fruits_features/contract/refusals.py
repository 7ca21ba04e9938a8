"""Refusals of S3 that concern one object, and not the caller.

The application and the DAG share these rules. An object that is refused costs one image. Any other refusal, such as of
expired credentials, fails the task. Uses the standard library only.

Codes: Amazon S3 API Reference, "Error responses" and GetObject. The answer for SSE-C is quoted in
https://github.com/minio/minio/pull/4894.
"""

from typing import Final

CALLER_CODES: Final = frozenset({"InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"})
"""S3's error codes of status 403 that concern the caller's credentials or clock."""

_KEY_CODES: Final = frozenset(
    {
        "KMS.DisabledException",
        "KMS.InvalidKeyUsageException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
    }
)
"""S3's error codes for an encryption key that cannot be used: errors of KMS's Decrypt (its API model) with the prefix
`KMS.`. The Amazon RDS User Guide lists the first and third as codes of S3 ("Failure messages for Amazon S3 export
tasks"). The others were not seen in an answer of S3."""


def object_refusal(code: str, message: str) -> str | None:
    """Return why S3 refuses to return an object, one sentence; `None` if the error does not concern the object.

    Args:
        code: S3's error code.
        message: S3's error message.

    >>> object_refusal("KMS.DisabledException", "The request was rejected because the KMS key is disabled.")
    'The KMS key that encrypts the object cannot be used (KMS.DisabledException).'
    >>> object_refusal("SlowDown", "Please reduce your request rate.")
    """
    if code == "InvalidObjectState":
        return "The object is archived (InvalidObjectState). Restore it, or move it out of the image prefix."
    if code in _KEY_CODES:
        return f"The KMS key that encrypts the object cannot be used ({code})."
    if code == "InvalidRequest" and "Server Side Encryption" in message:
        return "The object is encrypted with a key that only its owner has (SSE-C). Upload it without such a key."
    if code == "AccessDenied":
        return (
            "S3 denied access to the object (AccessDenied). The role needs s3:GetObject, and kms:Decrypt for the key "
            "that encrypts the object."
        )
    return None
