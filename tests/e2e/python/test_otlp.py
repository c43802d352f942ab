# e2e: newest
"""What the real server pushes, judged by the message types that the OpenTelemetry project generates and publishes: decoded
without a field they do not know, checked field by field, and complete although collector and server are killed."""

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox

pytest.importorskip("opentelemetry.proto", reason="only in the newest environment")

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

SECRET = "Bearer only-for-the-collector"


class Collector:
    """A process, so that it can be killed, on a port it gets back."""

    def __init__(self, file):
        self.file, self.port, self.process = file, 0, None
        file.touch()

    def start(self):
        script = Path(__file__).with_name("otlp_receiver.py")
        command = [sys.executable, str(script), str(self.port), str(self.file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def requests(self, path):
        # The last line may be half of one if it was killed while writing: it was not answered.
        lines = [line for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in map(json.loads, lines) if line["path"] == path]


class Server:
    """The real binary with a configuration of its own."""

    def __init__(self, directory):
        self.directory, self.process, self.environment = directory, None, {}

    def start(self):
        command = [os.environ["SANDSCOPE_BINARY"], "serve", "--dev", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", str(self.directory / "data"), "--config", str(self.directory / "otlp.toml")]
        command += ["--operator-listen", "127.0.0.1:0"]
        environment = {**os.environ, "SANDSCOPE_OTLP_HEADERS": f"authorization={SECRET}"}
        log = open(self.directory / "server.log", "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        # The key is told once, and last.
        last = "E2B_DOMAIN" if self.environment else "E2B_API_KEY"
        for line in self.process.stdout:
            name, value = line.removeprefix("export ").strip().split("=", 1)
            self.environment[name] = value
            if name == last:
                break
        assert self.process.poll() is None, self.log()

    def log(self):
        return (self.directory / "server.log").read_text()

    def options(self):
        return {
            "api_key": self.environment["E2B_API_KEY"],
            "api_url": self.environment["E2B_API_URL"],
            "sandbox_url": self.environment["E2B_SANDBOX_URL"],
            "domain": self.environment["E2B_DOMAIN"],
        }

    def http(self):
        return httpx.Client(
            base_url=self.environment["E2B_API_URL"],
            headers={"X-API-Key": self.environment["E2B_API_KEY"]},
            timeout=30,
        )

    def events(self):
        """The whole log as the API tells it, oldest first."""
        with self.http() as http:
            every = ["created", "killed", "updated", "paused", "resumed", "checkpointed"]
            parameters = [("limit", 100), ("orderAsc", "true")]
            parameters += [("types", f"sandbox.lifecycle.{kind}") for kind in every]
            found = []
            while True:
                page = http.get("/events/sandboxes", params=parameters + [("offset", len(found))]).json()
                found += page
                if len(page) < 100:
                    return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        with self.http() as http:
            for sandbox in http.get("/v2/sandboxes", params={"state": "running,paused"}).json():
                http.delete(f"/sandboxes/{sandbox['sandboxID']}")
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log()


@pytest.fixture
def collector(tmp_path):
    collector = Collector(tmp_path / "received")
    collector.start()
    yield collector
    collector.kill()


@pytest.fixture
def server(tmp_path, collector):
    (tmp_path / "otlp.toml").write_text(
        f"""
        [otlp]
        endpoint = "http://127.0.0.1:{collector.port}"
        interval_s = 1
        top_sandboxes = 10
        attributes = {{ "deployment.environment.name" = "test" }}
        """
    )
    server = Server(tmp_path)
    server.start()
    yield server
    # Its sandboxes would live on.
    if server.process.poll() is not None:
        server.start()
    server.stop()


def known(message):
    """Insists that the message and everything in it is made of known fields only."""
    assert len(UnknownFieldSet(message)) == 0, message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                known(inner)


def decoded(line, kind):
    assert line["headers"]["content-type"] == "application/x-protobuf"
    assert line["headers"]["content-encoding"] == "gzip"
    assert line["headers"]["authorization"] == SECRET
    message = kind.FromString(gzip.decompress(base64.b64decode(line["body"])))
    known(message)
    return message


def plain(value):
    which = value.WhichOneof("value")
    if which == "array_value":
        return [plain(inner) for inner in value.array_value.values]
    return getattr(value, which)


def attributes(message):
    found = {attribute.key: plain(attribute.value) for attribute in message.attributes}
    assert len(found) == len(message.attributes), "a key is there twice"
    return found


def records(collector):
    """(attributes of the resource, scope, record) of every record, in the order it came."""
    for line in collector.requests("/v1/logs"):
        for of in decoded(line, ExportLogsServiceRequest).resource_logs:
            for scope in of.scope_logs:
                for record in scope.log_records:
                    yield attributes(of.resource), scope.scope.name, record


def events(collector):
    return [
        {**attributes(record), "type": record.event_name}
        for _, scope, record in records(collector)
        if scope == "sandscope.events"
    ]


def flat(path, value):
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in flat(f"{path}.{name}", inner).items()}
    return {} if value is None else {path: value}


def test_everything_that_is_pushed_is_what_opentelemetry_defines(server, collector, eventually):
    began = time.time_ns()
    sandbox = Sandbox.create("base", metadata={"user": "u1"}, timeout=600, **server.options())
    sandbox.commands.run("echo to out; echo to err >&2")
    sandbox.set_timeout(500)
    eventually("metrics of the sandbox", lambda: metrics_of(collector, sandbox.sandbox_id))
    sandbox.kill()

    told = eventually("the end", lambda: [e for e in events(collector) if e["type"].endswith("killed")])
    assert told[0]["sandscope.event.data.kill_reason"] == "request"
    eventually("both lines", lambda: {"to out", "to err"} <= {r.body.string_value for _, _, r in records(collector)})

    # Every event of the history, field by field.
    history = server.events()
    pushed = {event["sandscope.event.id"]: event for event in events(collector)}
    assert [event["type"] for event in history][0] == "sandbox.lifecycle.created"
    assert {event["id"] for event in history} <= set(pushed)
    for event in history:
        expected = {
            "type": event["type"],
            "sandscope.event.id": event["id"],
            "sandscope.event.sequence": event["sequence"],
            "sandscope.execution.id": event["sandboxExecutionId"],
            "sandscope.build.id": event["sandboxBuildId"],
            **flat("sandscope.event.data", event["eventData"] or {}),
        }
        assert pushed[event["id"]] == expected

    for resource, scope, record in records(collector):
        assert resource["service.name"] == "sandscope" and resource["service.version"]
        assert resource["host.name"] and resource["deployment.environment.name"] == "test"
        assert resource["sandscope.sandbox.id"] == sandbox.sandbox_id
        assert resource["sandscope.team.id"] == history[0]["sandboxTeamId"]
        assert resource["sandscope.template.id"] == history[0]["sandboxTemplateId"]
        assert began - 60_000_000_000 < record.time_unix_nano <= time.time_ns()
        assert began <= record.observed_time_unix_nano <= time.time_ns()
        assert record.severity_text == SeverityNumber.Name(record.severity_number).removeprefix("SEVERITY_NUMBER_")
        assert (scope == "sandscope.events") == bool(record.event_name)
    logs = [(record, attributes(record)) for _, scope, record in records(collector) if scope == "sandscope.logs"]
    for text, stream, severity in [("to out", "stdout", "INFO"), ("to err", "stderr", "WARN")]:
        [(record, said)] = [(record, said) for record, said in logs if record.body.string_value == text]
        assert (said["log.iostream"], record.severity_text) == (stream, severity)
        assert said["sandscope.log.source"] == stream and said["process.pid"] > 1
    # Lifecycle lines are the events themselves and do not come twice.
    assert not [said for _, said in logs if "sandscope.event.type" in said]

    assert SECRET not in server.log()
    metrics_are_sound(collector, sandbox.sandbox_id, began)


def metrics_of(collector, sandbox_id):
    found = []
    for line in collector.requests("/v1/metrics"):
        for of in decoded(line, ExportMetricsServiceRequest).resource_metrics:
            if attributes(of.resource).get("sandscope.sandbox.id") == sandbox_id:
                found.append(of)
    return found


def metrics_are_sound(collector, sandbox_id, began):
    names = set()
    for line in collector.requests("/v1/metrics"):
        for of in decoded(line, ExportMetricsServiceRequest).resource_metrics:
            assert attributes(of.resource)["service.name"] == "sandscope"
            for metric in (metric for scope in of.scope_metrics for metric in scope.metrics):
                assert metric.name and metric.unit and metric.description
                names.add(metric.name)
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points
                assert points
                if kind == "sum":
                    assert metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                series = [tuple(sorted(attributes(point).items())) for point in points]
                assert len(set(series)) == len(series), "a series is there twice"
                for point in points:
                    assert began - 60_000_000_000 < point.time_unix_nano <= time.time_ns()
                    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
                    assert getattr(point, point.WhichOneof("value")) >= 0
    assert {"sandscope.sandbox.count", "sandscope.sandboxes.memory.working_set", "sandscope.export.sent"} <= names
    of = metrics_of(collector, sandbox_id)[-1]
    resource = attributes(of.resource)
    assert resource["sandscope.template.name"] == "base" and resource["sandscope.team.id"]
    metrics = {metric.name: metric for scope in of.scope_metrics for metric in scope.metrics}
    assert metrics["container.cpu.usage"].gauge.data_points[0].as_double <= 2.0
    memory = metrics["container.memory.working_set"].sum
    free = metrics["container.memory.available"].sum.data_points[0].as_int
    assert memory.data_points[0].as_int + free == 512 << 20 and not memory.is_monotonic
    disk = [metrics[f"container.filesystem.{of}"].sum.data_points[0].as_int for of in ("usage", "available", "capacity")]
    assert disk[0] + disk[1] == disk[2] > 0
    assert metrics["sandscope.sandbox.oom_kills"].sum.is_monotonic


def test_every_event_arrives_although_collector_and_server_are_killed(server, collector, eventually):
    sandboxes = [Sandbox.create("base", timeout=600, **server.options()) for _ in range(3)]

    def happen(times):
        for n in range(times):
            # By id: the server has another address after each start.
            Sandbox.set_timeout(sandboxes[n % 3].sandbox_id, 600 + n, **server.options())

    happen(30)
    eventually("some", lambda: len(events(collector)) >= 10)
    collector.kill()
    happen(60)
    # Killed with events owed, and with the collector away: the next start knows what is missing.
    server.kill()
    server.start()
    happen(60)
    collector.start()
    happen(30)
    server.kill()
    server.start()
    for sandbox in sandboxes:
        assert Sandbox.kill(sandbox.sandbox_id, **server.options())
    history = server.events()
    assert len(history) == 3 + 180 + 3
    owed = {event["id"]: event["sequence"] for event in history}
    eventually("every event", lambda: set(owed) <= {e["sandscope.event.id"] for e in events(collector)}, 120)
    # A sandbox's come in the order of the log; what comes twice has the same id and number.
    numbers, of_sandboxes = {}, {}
    for resource, scope, record in records(collector):
        if scope == "sandscope.events":
            said = attributes(record)
            number, known_as = said["sandscope.event.sequence"], said["sandscope.event.id"]
            if known_as not in numbers:
                of_sandboxes.setdefault(resource["sandscope.sandbox.id"], []).append(number)
            assert numbers.setdefault(known_as, number) == number
    assert len(of_sandboxes) == 3
    for of_sandbox in of_sandboxes.values():
        assert of_sandbox == sorted(of_sandbox)
    assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))
    repeated = len(events(collector)) - len(numbers)
    assert repeated <= 2 * 256, "no more than a request for each kill"
    print(f"{len(numbers)} events, {repeated} of them twice")
