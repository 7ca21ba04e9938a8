"""Checks of what a run requests, for its first task: they fail the run once, before it waits for images.

The form checks each parameter alone. These checks compare parameters with each other, with the published run and with
the names that exist.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import BotoCoreError, ClientError

from fruits_airflow import run_context
from fruits_airflow.hooks import aws
from fruits_airflow.hooks.documents import list_datasets, other_images, read_latest
from fruits_features.contract.arguments import DEFAULT_EXPLAINED_VARIANCE, Refit
from fruits_features.contract.families import MODEL_FAMILY, total_dimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import Context

    from fruits_features.contract.layout import DatasetLayout

log = logging.getLogger(__name__)

MAX_NAMES = 10
"""Largest number of data sets that the warning of a new one lists."""


def check(context: Context) -> None:
    """Check a run's configuration and parameters. Log a warning if the run would create a data set.

    Raises:
        AirflowFailException: A name is unknown, or parameters contradict each other or the published run. A retry would
            fail again.
    """
    params = context["params"]
    problem = (
        _unknown_name(context["dag_run"].conf or {}, context["dag"].params)
        or _unused_model(params)
        or _too_many_components(params)
    )
    if problem:
        raise AirflowFailException(problem)
    with suppress(BotoCoreError, ClientError):  # the wait for images, which comes next, explains such errors
        _check_dataset(context)


def _check_dataset(context: Context) -> None:
    """Check the request against the published run of its data set. Log a warning if there is no such run.

    Raises:
        AirflowFailException: They contradict each other.
        BotoCoreError, ClientError: S3 refuses a request.
    """
    params, dataset, s3 = context["params"], run_context.dataset(context), aws.s3()
    published = read_latest(s3, dataset)
    problem = _fixed_projection(params, published)
    if not params["replace_dataset"]:
        problem = other_images(s3, published, dataset, run_context.image_prefix(context)) or problem
    if problem:
        raise AirflowFailException(problem)
    if not (published or dataset.is_default):
        _warn_of_new_dataset(dataset, [name for name in list_datasets(s3, dataset.bucket) if name != dataset.name])


def _unknown_name(conf: Mapping[str, Any], known: Iterable[str]) -> str | None:
    """Return a problem if the configuration of a run has a name that is not a parameter of the DAG."""
    names = list(known)
    unknown = next((name for name in conf if name not in names), None)
    if unknown is None:
        return None
    nearest = get_close_matches(unknown, names, n=1)
    hint = f"Did you mean `{nearest[0]}`?" if nearest else f"The parameters are {', '.join(names)}."
    return f"The run's configuration names `{unknown}`, which is not a parameter of this DAG. {hint}"


def _unused_model(params: Mapping[str, Any]) -> str | None:
    if MODEL_FAMILY in params["features"] or params["onnx_model"] is None:
        return None
    return (
        f"Parameter `onnx_model` is {params['onnx_model']}, but `features` does not contain `{MODEL_FAMILY}`. Add "
        f"`{MODEL_FAMILY}` to `features`, or leave `onnx_model` empty."
    )


def _too_many_components(params: Mapping[str, Any]) -> str | None:
    """Return a problem if `k` is above the number of features. The application checks the features of a model."""
    families, k = params["features"], params["k"]
    dimension = total_dimension(families)
    if k is None or MODEL_FAMILY in families or k <= dimension:
        return None
    return (
        f"Parameter `k` is {k}, but the families {', '.join(families)} have {dimension} features together. Give a `k` "
        f"from 1 to {dimension}, or leave it empty."
    )


def _fixed_projection(params: Mapping[str, Any], published: Mapping[str, Any]) -> str | None:
    """Return a problem if `refit` is `never` and the published projection has other components than requested."""
    k, share = params["k"], params["explained_variance"]
    if params["refit"] != Refit.NEVER or (k is None and share == DEFAULT_EXPLAINED_VARIANCE):
        return None
    components = published.get("projection", {}).get("components")
    if components in {None, k}:
        return None
    request = f"`k` is {k}" if k is not None else f"`explained_variance` is {share:g}"
    unset = "leave `k` empty" if k is not None else f"leave `explained_variance` at {DEFAULT_EXPLAINED_VARIANCE}"
    return (
        f"Parameter {request}, but `refit` is `never`, which keeps the {components} components of the published "
        f"projection. Set `refit` to `auto` or `always`, or {unset}."
    )


def _warn_of_new_dataset(dataset: DatasetLayout, others: list[str]) -> None:
    """Log a warning that a run creates a named data set, because its name may be mistyped.

    Args:
        dataset: Data set of the run.
        others: Names of the other data sets of the bucket.
    """
    nearest = get_close_matches(dataset.name, others, n=MAX_NAMES, cutoff=0)
    log.warning(
        "The data set %r of s3://%s has no published run, so this run creates it. If the name is mistyped, mark this "
        "run as failed and correct `dataset`. Other data sets, the most similar first: %s.",
        dataset.name,
        dataset.bucket,
        ", ".join(nearest),
    )
