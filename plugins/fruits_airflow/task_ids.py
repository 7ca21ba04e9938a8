"""Task ids and XCom keys that code refers to by name.

Airflow stores these names in its database, and users see them in the UI. A renamed id loses the history of its task.
"""

from __future__ import annotations

from typing import Final

WAIT_FOR_IMAGES: Final = "wait_for_images"
TAKE_INVENTORY: Final = "take_inventory"
UPLOAD_APPLICATION: Final = "upload_application"
FIND_CHANGES: Final = "find_changes"
PLAN_CLUSTER: Final = "plan_cluster"
FEATURIZE_ON_WORKER: Final = "featurize_on_worker"
CREATE_CLUSTER: Final = "create_cluster"
CLUSTER_READY: Final = "cluster_ready"
FEATURIZE_AND_REDUCE: Final = "featurize_and_reduce"
VALIDATE_ON_CLUSTER: Final = "validate_on_cluster"
TERMINATE_CLUSTER: Final = "terminate_cluster"
VALIDATE_PARQUET: Final = "validate_parquet"

STAYS_PUBLISHED_KEY: Final = "stays_published"
"""XCom key of `find_changes`: name of the published run that a skipped run would repeat."""
NEW_IMAGES_KEY: Final = "new_images"
"""XCom key of `find_changes`: images to extract (`include.inventory.changes.Changes` in plain types), or `None`."""
COST_KEY: Final = "cost"
"""XCom key of `terminate_cluster`: actual cost of the cluster (`include.emr.costs.Cost` in plain types)."""
CLUSTER_LINK_KEY: Final = "fruits_cluster"
"""XCom key of the link to a cluster."""
LOGS_LINK_KEY: Final = "fruits_logs"
"""XCom key of the link to the logs of a cluster."""
STEP_LOGS_LINK_KEY: Final = "fruits_step_logs"
"""XCom key of the link to the logs of a cluster's steps."""
RUN_FOLDER_LINK_KEY: Final = "fruits_run_folder"
"""XCom key of the link to the results of a run."""
