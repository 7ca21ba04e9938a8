"""The data dictionary agrees with the code."""

import numpy as np
import pytest

from fruits_features.contract.arguments import Arguments
from fruits_features.contract.rejections import Reason
from fruits_features.output.features_writer import about
from fruits_features.pca.fit import Moments, fit
from fruits_features.schemas import INVENTORY, METADATA, QUARANTINE, features_columns
from include.dev import data_dictionary


def test_page_is_as_the_schemas_are() -> None:
    assert data_dictionary.FILE.read_text(encoding="utf-8") == data_dictionary.render(), "stale: run `make docs`"


@pytest.mark.parametrize(
    "column", dict.fromkeys((*features_columns(include_pixels=True), *QUARANTINE, *INVENTORY)), ids=lambda c: c.name
)
def test_page_lists_every_column_with_its_meaning(column) -> None:  # noqa: ANN001
    (line,) = {
        line
        for line in data_dictionary.render().splitlines()
        if line.startswith(f"| `{column.name}` |") and column.meaning in line
    }

    assert line.split(" | ")[2] == ("yes" if column.nullable else "no")


def test_every_reason_has_a_meaning_of_its_own() -> None:
    meanings = [reason.meaning for reason in Reason]

    assert len({*meanings}) == len(meanings)
    assert all(meaning.endswith(".") for meaning in meanings)


def test_metadata_has_the_fields_of_the_page() -> None:
    arguments = Arguments(bucket="fruits", inventory="s3://fruits/i", output="s3://fruits/o", run="r")

    projection = fit(Moments.of(np.eye(4, 432, dtype=np.float32)), ["color"], k=1, explained_variance=None)

    assert about(arguments, projection).keys() == METADATA.keys()
    assert METADATA.keys() - about(arguments).keys() == {"projection"}
