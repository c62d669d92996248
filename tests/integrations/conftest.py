from __future__ import annotations

import mlflow
import pytest


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """Let MLflow keep its runs in a database and a folder of these tests alone."""
    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    number = mlflow.create_experiment("tests", artifact_location=(folder / "files").as_uri())
    mlflow.set_experiment(experiment_id=number)
    yield
    mlflow.set_tracking_uri(before)
