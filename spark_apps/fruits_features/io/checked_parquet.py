"""The format of Parquet datasets whose page checksums are verified when they are read."""

import pyarrow.dataset as ds

CHECKED_PARQUET = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
"""A page with other bytes than were written raises `OSError`. Pages without a checksum are read without a check."""
