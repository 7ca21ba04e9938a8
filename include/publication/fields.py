"""Fields of `run.json` and `latest.json`, for docs/reference/data-dictionary.md. Run `make docs` after a change.

The fields of the objects that other modules build from dataclasses are described there: `checks`, `cost` and
`recogniser.evaluation`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field of a document.

    Args:
        path: Names from the document down to the value, joined by periods. `<…>` stands for any name, and `[]` for
            each entry of a list.
        type: JSON type of the value.
        meaning: Description of the value, one or two sentences, with the case in which it is null or missing.
        unit: Unit of the value. Empty if it has none.
    """

    path: str
    type: str
    meaning: str
    unit: str = ""


RECORD = (
    Field("format", "integer", "Version of the document: 1."),
    Field("run", "string", "Name of the run."),
    Field("digest", "string", "SHA-256 of all other fields: `sha256:` and 64 hexadecimal digits."),
    Field("dag.dag_id", "string", "Id of the DAG."),
    Field("dag.run_id", "string", "Id of the DAG run."),
    Field("inventory.prefix", "string", "Key prefix of the images."),
    Field("inventory.images", "integer", "Number of rows in `inventory/`."),
    Field("inventory.size_bytes", "integer", "Size of these objects.", unit="bytes"),
    Field("inventory.categories", "integer", "Number of their categories."),
    Field("inventory.uncategorised", "integer", "Number of objects that are not in a category folder."),
    Field("inventory.fitted", "integer", "Number of images of the split Training, or of all if it is empty."),
    Field("inventory.left_out.<kind>", "integer", "Number of objects that are not images, by kind."),
    Field("inventory.warnings", "list of string", "Sentences about splits that are probably mistaken."),
    Field("inventory.digest", "string", "Digest of keys and contents. Equal for equal images, in any order."),
    Field("inventory.source", "string", "`listing`, or the URI of the S3 Inventory manifest."),
    Field("inventory.taken_at", "string", "Time in ISO 8601. The inventory contains all earlier uploads."),
    Field("counts.inventory", "integer", "Number of rows in `inventory/`."),
    Field("counts.features", "integer", "Number of rows in `features/`."),
    Field("counts.quarantine", "integer", "Number of rows in `quarantine/`."),
    Field("categories.<category>", "integer", "Number of rows in `features/` by category."),
    Field("projection.version", "string", "Version of the projection: equal versions, equal numbers in `pca`."),
    Field("projection.components", "integer", "Number of components, k."),
    Field("projection.explained_variance", "number", "Explained share of the variance, 0 to 1."),
    Field("projection.kept_from", "string or null", "URI of the kept projection. Null if the run fitted one."),
    Field("projection.why", "string", "Reason why the projection was kept or fitted."),
    Field("recogniser.projection", "string", "Version of its projection. Without a recogniser, `recogniser` is empty."),
    Field("recogniser.categories", "integer", "Number of categories that it recognises."),
    Field("recogniser.shrinkage", "number", "Shrinkage of the covariance, chosen by cross-validation, 0 to 1."),
    Field("recogniser.temperature", "number", "Divisor of the logits, chosen by cross-validation, positive."),
    Field("recogniser.evaluation", "object or null", "Cross-validation. Null if there were too few images."),
    Field("recogniser.splits.<split>.images", "integer", "Number of images. `all` is the split of images without one."),
    Field("recogniser.splits.<split>.right", "integer", "Number of images that were recognised."),
    Field("recogniser.splits.<split>.unknown", "integer", "Number of images of categories that it does not know."),
    Field(
        "recogniser.splits.<split>.log_loss",
        "number or null",
        "Mean negative logarithm of the probability of an image's category. Null if it knows none of them.",
    ),
    Field(
        "recogniser.splits.<split>.calibration_error",
        "number",
        "Mean distance of confidence and accuracy over `bins`, weighted by images.",
    ),
    Field("recogniser.splits.<split>.bins", "list of object", "Bins of increasing confidence, without empty ones."),
    Field("recogniser.splits.<split>.categories.<category>", "list of integer", "Images, and right answers."),
    Field(
        "recogniser.splits.<split>.confusions",
        "list of list",
        "Most frequent errors: category, answer, number of images.",
    ),
    Field(
        "recogniser.change.basis",
        "string",
        "Images of the comparison with the published recogniser. Without a comparison, `change` is missing.",
    ),
    Field("recogniser.change.images", "integer", "Number of these images."),
    Field("recogniser.change.before", "number", "Accuracy of the published recogniser, 0 to 1."),
    Field("recogniser.change.now", "number", "Accuracy of this recogniser, 0 to 1."),
    Field("recogniser.change.difference", "number", "`now` - `before`."),
    Field("recogniser.change.low", "number", "Lower limit of the difference, of an interval of 95 %."),
    Field("recogniser.change.high", "number", "Upper limit of the difference."),
    Field("recogniser.change.is_drop", "boolean", "Whether the accuracy dropped, by more than chance explains."),
    Field("work.described", "integer", "Number of images that this run extracted."),
    Field("work.reused", "integer", "Number of objects that were in the feature cache."),
    Field("work.seconds.<stage>", "number", "Duration of `start`, `describe` and `reduce`.", unit="seconds"),
    Field("checks", "list of object", "The [checks](validation.md) of the validation."),
    Field("cost", "object or null", "Cost of the cluster. Null for a DAG without one, zeros if it was not needed."),
    Field("cost.estimate", "object", "Estimate before the cluster exists."),
    Field("cost.estimate.prices", "string", "Region and date of the prices."),
    Field("cost.actual", "object or null", "Cost by the instances' hours. Null if it is unknown."),
    Field("paths.inventory", "string", "URI of the folder `inventory/`."),
    Field("paths.features", "string", "URI of the folder `features/`."),
    Field("paths.quarantine", "string", "URI of the folder `quarantine/`."),
    Field("paths.projection", "string", "URI of `projection.npz`."),
    Field("paths.spark_model", "string", "URI of the folder of the Spark ML `PipelineModel`."),
    Field("paths.recogniser", "string", "URI of `recogniser.npz`. Missing without a recogniser."),
    Field("paths.report", "string", "URI of the report's page."),
    Field("paths.run", "string", "URI of `run.json`."),
    Field("versions.fruits_features", "string", "Version of the package that wrote the run."),
    Field("versions.application", "string", "Name of the application's archive, with the digest of its content."),
    Field("files.<name>", "string", "`etag:` and the ETag of an object, by its name below the run's folder."),
    Field("params.<parameter>", "any", "Parameters of the DAG run, defaults included."),
    Field("artifacts.<role>", "string", "URI of each artifact that the cluster ran, named by its content."),
    Field("recipe.<input>", "any", "What the result depends on. A run with an equal `recipe` is skipped."),
)
"""Fields of `run.json`."""

LATEST = (
    Field("published_at", "string", "Time of the publication in ISO 8601."),
    Field("digest", "string", "SHA-256 of all other fields, as in `run.json`."),
    Field("checksums.<name>", "string", "`files` of `run.json`, and `run.json` with `sha256:` and its SHA-256."),
)
"""Fields of `latest.json`, in addition to those of `SHARED`."""

SHARED = ("format", "run", "inventory", "counts", "projection", "versions", "paths")
"""Fields of `run.json` that `latest.json` repeats."""
