"""The Compose stack, held to the Compose specification's schema and to our own rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from projectai_lab import config, devserver
from projectai_lab.devserver import DevServer

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
STACK: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
JOBS = {"temporal-schema", "temporal-namespace"}
DOCKERFILE = (ROOT / "docker" / "worker.Dockerfile").read_text()


def temporal(*arguments: str) -> str:
    command = [str(devserver.find_binary()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_file_obeys_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    shown = subprocess.run(
        [*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_the_stack_is_the_seven_parts() -> None:
    assert set(SERVICES) == {
        "postgresql",
        "temporal",
        "temporal-ui",
        "temporal-worker",
        "jupyterlab",
        *JOBS,
    }


def test_server_tools_and_web_ui_are_those_of_the_embedded_server() -> None:
    found = re.search(r"Server ([\d.]+), UI ([\d.]+)", temporal("--version"))
    assert found
    assert SERVICES["temporal"]["image"] == f"temporalio/server:{found[1]}"
    assert {SERVICES[job]["image"] for job in JOBS} == {f"temporalio/admin-tools:{found[1]}"}
    assert SERVICES["temporal-ui"]["image"] == f"temporalio/ui:{found[2]}"


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 6
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?", image), image
    assert SERVICES["postgresql"]["image"].startswith("postgres:16.")


def test_ports_are_published_on_loopback_alone() -> None:
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports["temporal"] == ["127.0.0.1:7233:7233"]
    assert ports["temporal-ui"] == ["127.0.0.1:8233:8233"]
    assert all(port.startswith("127.0.0.1:") for found in ports.values() for port in found)
    assert ports["postgresql"] == []
    assert "network_mode" not in TEXT


def test_the_password_comes_from_the_environment_and_is_required() -> None:
    uses = re.findall(r"(\w+): (\$\{POSTGRES_PASSWORD.*\})", TEXT)
    assert {name for name, _ in uses} == {"POSTGRES_PASSWORD", "SQL_PASSWORD", "POSTGRES_PWD"}
    assert all(value.startswith("${POSTGRES_PASSWORD:?") for _, value in uses)
    secrets = re.findall(r"^ +\w*(?:PASSWORD|PWD|TOKEN): (.*)$", TEXT, re.MULTILINE)
    assert len(secrets) == 4
    assert all(value.startswith("${") for value in secrets)


def test_the_example_names_every_variable_that_the_stack_reads() -> None:
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    example = (ROOT / "docker" / ".env.example").read_text()
    assert set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE)) == read
    assert "POSTGRES_PASSWORD=\n" in example


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "cap_add" not in service or name == "postgresql"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - JOBS))
def test_what_stays_up_is_restarted_and_tells_its_health(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    check = SERVICES[name]["healthcheck"]
    assert {"test", "interval", "timeout", "retries", "start_period"} == set(check)
    assert check["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", sorted(JOBS))
def test_a_job_runs_a_mounted_script_once(name: str) -> None:
    job = SERVICES[name]
    [mount] = job["volumes"]
    source, target, mode = mount.split(":")
    assert job["restart"] == "no"
    assert job["entrypoint"] == ["/bin/sh", target]
    assert mode == "ro"
    assert subprocess.run(["sh", "-n", str(ROOT / source)]).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_can_tell_that_it_is_ready(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        condition = "service_completed_successfully" if other in JOBS else "service_healthy"
        assert wait == {"condition": condition}
        assert not SERVICES[other].get("profiles")


def test_the_order_is_database_schema_server_namespace_worker() -> None:
    name, chain = "temporal-worker", ["temporal-worker"]
    while name := next(iter(SERVICES[name].get("depends_on", {})), ""):
        chain.append(name)
    assert chain[::-1] == [
        "postgresql",
        "temporal-schema",
        "temporal",
        "temporal-namespace",
        "temporal-worker",
    ]


def test_every_file_that_is_mounted_or_built_exists() -> None:
    mounts = [m for service in SERVICES.values() for m in service.get("volumes", [])]
    for source in (mount.split(":")[0] for mount in mounts):
        assert (ROOT / source).exists() if source.startswith("./") else source in STACK["volumes"]
    for service in (SERVICES["temporal-worker"], SERVICES["jupyterlab"]):
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["build"]["context"] == "."


def test_postgresql_keeps_its_data_in_a_named_volume() -> None:
    assert SERVICES["postgresql"]["volumes"] == ["postgresql-data:/var/lib/postgresql/data"]


def test_postgresql_is_healthy_only_once_it_listens_on_tcp() -> None:
    assert "--host=127.0.0.1" in SERVICES["postgresql"]["healthcheck"]["test"][1]


def test_the_server_has_the_fast_clock_of_the_embedded_one() -> None:
    environment = SERVICES["temporal"]["environment"]
    target = f"./docker/dynamicconfig.yaml:{environment['DYNAMIC_CONFIG_FILE_PATH']}:ro"
    assert SERVICES["temporal"]["volumes"] == [target]
    settings = yaml.safe_load((ROOT / "docker" / "dynamicconfig.yaml").read_text())
    assert settings == {"history.timerProcessorMaxTimeShift": [{"value": "10ms"}]}


def test_server_and_schema_job_speak_to_the_same_database() -> None:
    server = SERVICES["temporal"]["environment"]
    job = SERVICES["temporal-schema"]["environment"]
    assert (server["DB"], server["POSTGRES_SEEDS"], server["DB_PORT"], server["POSTGRES_USER"]) == (
        job["SQL_PLUGIN"],
        job["SQL_HOST"],
        job["SQL_PORT"],
        job["SQL_USER"],
    )
    assert server["BIND_ON_IP"] == "0.0.0.0"
    assert server["TEMPORAL_ALLOW_NO_AUTH"] == "true"


@pytest.mark.parametrize("name", ["temporal-worker", "jupyterlab"])
def test_worker_and_notebooks_read_the_stack_through_our_variables(name: str) -> None:
    settings = config.LabConfig.load(env=SERVICES[name]["environment"])
    assert settings.address == "temporal:7233"
    assert settings.address_source == "TEMPORAL_HOST"
    assert settings.namespace == f"${{TEMPORAL_NAMESPACE:-{config.DEFAULT_NAMESPACE}}}"
    assert settings.task_queue == f"${{TEMPORAL_TASK_QUEUE:-{config.DEFAULT_TASK_QUEUE}}}"


def test_the_worker_starts_by_itself_and_scales() -> None:
    worker = SERVICES["temporal-worker"]
    assert worker["command"] == ["projectai-lab", "worker"]
    assert not {"container_name", "ports", "profiles", "hostname"} & set(worker)
    assert worker["stop_grace_period"] == "30s"


def test_jupyterlab_is_optional() -> None:
    assert SERVICES["jupyterlab"]["profiles"] == ["notebooks"]
    assert [name for name, s in SERVICES.items() if "profiles" in s] == ["jupyterlab"]


def test_the_web_ui_works_where_it_is_published() -> None:
    environment = SERVICES["temporal-ui"]["environment"]
    assert environment["TEMPORAL_UI_PORT"] == "8233"
    assert "http://localhost:8233" in environment["TEMPORAL_CORS_ORIGINS"].split(",")
    assert environment["TEMPORAL_CSRF_COOKIE_INSECURE"] == "true"
    assert SERVICES["temporal-ui"]["healthcheck"]["test"][-1].endswith(":8233/healthz")


def test_the_worker_image_obeys_the_constraints_and_runs_as_nobody_special() -> None:
    lines = DOCKERFILE.splitlines()
    assert "pip install -c constraints.txt ." in DOCKERFILE
    assert lines[-1] == 'CMD ["projectai-lab", "worker"]'
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER lab"]
    assert lines.index("USER lab") > max(i for i, line in enumerate(lines) if "pip install" in line)


def test_the_build_gets_all_that_it_copies_and_no_more() -> None:
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert ignore[0] == "*"
    assert {name for names in copied for name in names} == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_the_namespace_job_registers_once_and_may_run_again() -> None:
    with DevServer.start() as server:
        env = {
            "PATH": f"{devserver.find_binary().parent}:/usr/bin:/bin",
            "TEMPORAL_ADDRESS": server.address,
            "TEMPORAL_NAMESPACE": "from-the-job",
        }
        for _ in range(2):
            command = ["sh", str(ROOT / "docker" / "namespace.sh")]
            shown = subprocess.run(command, env=env, capture_output=True, text=True)
            assert shown.returncode == 0, shown.stderr
            ready = f"Namespace from-the-job is ready on {server.address}"
            assert shown.stdout.splitlines()[-1] == ready
        where = ["--address", server.address, "--namespace", "from-the-job"]
        assert "168h" in temporal("operator", "namespace", "describe", *where)


def test_the_schema_job_prepares_both_databases(tmp_path: Path) -> None:
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text('#!/bin/sh\necho "$SQL_DATABASE $*"\n')
    tool.chmod(0o755)
    shown = subprocess.run(
        ["sh", str(ROOT / "docker" / "schema.sh")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    versioned = "update-schema -d /etc/temporal/schema/postgresql/v12/{}/versioned"
    assert shown.stdout.splitlines() == [
        "temporal create",
        "temporal setup-schema -v 0.0",
        f"temporal {versioned.format('temporal')}",
        "temporal_visibility create",
        "temporal_visibility setup-schema -v 0.0",
        f"temporal_visibility {versioned.format('visibility')}",
    ]


def test_compose_itself_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker compose on this machine")
    shown = subprocess.run(
        [docker, "compose", "--profile", "notebooks", "config", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "POSTGRES_PASSWORD": "x"},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
