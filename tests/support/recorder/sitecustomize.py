"""Recorder of the AWS requests of a program under test that has this folder on its Python path.

It writes one JSON line per request of botocore or aiobotocore to the file FRUITS_TEST_CALLS: service, operation, and
all parameters. The content of objects is left out, and times are written as text.
"""

import json
import os
from pathlib import Path

from botocore.validate import ParamValidationDecorator


def _plain(value):  # noqa: ANN001, ANN202 - any value that JSON does not know
    return value.isoformat() if hasattr(value, "isoformat") else ""


def _recording(serialize, calls):  # noqa: ANN001, ANN202 - botocore's signature
    def serialize_to_request(self, parameters, operation_model):  # noqa: ANN001, ANN202
        line = json.dumps(
            [operation_model.service_model.service_name, operation_model.name, parameters], default=_plain
        )
        with calls.open("a") as file:
            file.write(f"{line}\n")
        return serialize(self, parameters, operation_model)

    return serialize_to_request


if __name__ == "sitecustomize":  # not when a tool imports all Python files
    ParamValidationDecorator.serialize_to_request = _recording(
        ParamValidationDecorator.serialize_to_request, Path(os.environ["FRUITS_TEST_CALLS"])
    )
