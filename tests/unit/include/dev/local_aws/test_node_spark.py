"""The nodes' Spark, and the archive that its JVMs start from."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyspark
import pytest

from include.dev.local_aws.node import spark
from include.dev.local_aws.node.spark import NodeSpark
from include.dev.local_aws.node.spark_conf import WITHOUT_A_WORD, spark_settings


def java_options(tmp_path: Path, archive: Path | None) -> list[str]:
    settings = spark_settings(tmp_path, scratch=tmp_path, archive=archive)
    return shlex.split(settings["spark.driver.defaultJavaOptions"])


def training(_: list[str], *, env: dict[str, str], **__: Any) -> None:  # noqa: ANN401 - subprocess.run's own
    """Do what the JVM does: write the archive that the settings name, here slowly."""
    defaults = (Path(env["SPARK_CONF_DIR"]) / "spark-defaults.conf").read_text()
    (archive,) = re.findall('"-XX:ArchiveClassesAtExit=(.+)"', defaults)
    with Path(archive).open("w") as file:
        for part in "whole":
            file.write(part)
            file.flush()
            time.sleep(0.02)


def test_spark_settings_name_the_archive_only_where_there_is_one(tmp_path: Path) -> None:
    archive = tmp_path / "a b.jsa"

    without, with_one = java_options(tmp_path, None), java_options(tmp_path, archive)

    assert with_one == [*without, *WITHOUT_A_WORD.split(), f"-XX:SharedArchiveFile={archive}"]


def test_home_taken_by_many_at_once_is_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: NodeSpark(tmp_path).take(), range(8)))

    spark = NodeSpark(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [spark.home.name]
    assert sorted(path.name for path in spark.home.iterdir()) == ["bin", "commands", "jars"]
    assert not spark.archive.exists()


def test_archive_made_by_many_at_once_is_seen_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", training)
    spark, seen = NodeSpark(tmp_path), set()

    with ThreadPoolExecutor(4) as threads:
        makers = [threads.submit(NodeSpark(tmp_path).make_archive) for _ in range(4)]
        while not all(maker.done() for maker in makers):
            seen.add(spark.archive.read_text() if spark.archive.exists() else None)

    assert [maker.exception() for maker in makers] == [None] * 4
    assert seen | {spark.archive.read_text()} <= {None, "whole"}
    assert sorted(path.name for path in spark.home.iterdir()) == ["bin", "classes.jsa", "commands", "jars"]


def test_archive_whose_training_fails_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(command: list[str], **more: Any) -> None:  # noqa: ANN401 - subprocess.run's own
        training(command, **more)
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", failing)
    monkeypatch.setattr(spark, "NODES", tmp_path)

    assert spark.main([]) == 0

    assert "will start slower" in capsys.readouterr().err
    assert sorted(path.name for path in NodeSpark(tmp_path).home.iterdir()) == ["bin", "commands", "jars"]


@pytest.mark.parametrize("options", [[], WITHOUT_A_WORD.split()], ids=["as Java does", "as we do"])
def test_java_says_nothing_of_an_archive_that_does_not_fit(tmp_path: Path, options: list[str]) -> None:
    archive = tmp_path / "classes.jsa"
    (jar,) = (Path(pyspark.__file__).parent / "jars").glob("spark-launcher_*.jar")
    make = ["java", f"-XX:ArchiveClassesAtExit={archive}", "-cp", str(jar), "org.apache.spark.launcher.Main"]
    subprocess.run(make, check=False, capture_output=True)
    assert archive.exists()

    elsewhere = ["java", *options, f"-XX:SharedArchiveFile={archive}", "-cp", str(tmp_path), "--version"]
    told = subprocess.run(elsewhere, check=True, capture_output=True, text=True)

    assert ("archive" in told.stdout + told.stderr) == (not options), "without our options it warns"


def test_spark_submit_is_given_the_settings_by_option(tmp_path: Path) -> None:
    spark = NodeSpark(tmp_path / "nodes")
    spark.take()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "spark-submit").write_text('#!/bin/sh\necho "$SPARK_CONF_DIR|$LOG4J_CONFIGURATION_FILE|$*"\n')
    (tmp_path / "bin" / "spark-submit").chmod(0o755)

    def told(**environment: str) -> str:
        command = [str(spark.commands / "spark-submit"), "a b", "c"]
        here = {"SPARK_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **environment}
        return subprocess.run(command, env=here, check=True, capture_output=True, text=True).stdout

    assert told(SPARK_CONF_DIR="/of a/step") == (
        "|/of a/step/log4j2.properties|--properties-file /of a/step/spark-defaults.conf a b c\n"
    )
    assert told() == "||a b c\n"
