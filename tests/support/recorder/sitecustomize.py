"""On the path of a program under test, notes each request that it makes of AWS through botocore or aiobotocore.

One JSON line a request, in the file that FRUITS_TEST_CALLS names: service, operation, and what names its resource.
"""

import json
import os
from pathlib import Path

from botocore.validate import ParamValidationDecorator

NAMING = ("Key", "Delete", "ClusterId", "JobFlowId", "JobFlowIds", "Tags")


def _noting(serialize, calls):  # noqa: ANN001, ANN202 - botocore's own signature
    def serialize_to_request(self, parameters, operation_model):  # noqa: ANN001, ANN202
        named = {key: value for key, value in parameters.items() if key in NAMING}
        line = json.dumps([operation_model.service_model.service_name, operation_model.name, named])
        with calls.open("a") as file:
            file.write(f"{line}\n")
        return serialize(self, parameters, operation_model)

    return serialize_to_request


if __name__ == "sitecustomize":  # and not a tool that reads all Python files
    ParamValidationDecorator.serialize_to_request = _noting(
        ParamValidationDecorator.serialize_to_request, Path(os.environ["FRUITS_TEST_CALLS"])
    )
