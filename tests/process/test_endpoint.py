"""The credentials endpoint of `sts-broker run`, from the point of view of an app in the same pod."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.serving.credentials_endpoint import PATH
from sandbox import Misbehaviour
from sandbox.aws import faults
from tests.process.test_volume import fill, tiny_volume
from tests.support.program import eventually
from tests.support.raw_http import RawAnswer, ask, parsed, request, sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox import StsServer
    from tests.process.pod import Pod
    from tests.support.program import Program

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
FILLED = 'mount -t tmpfs -o size=64k,mode=0755 tmpfs "$0" && head -c 65536 /dev/zero > "$0/filler"; exec "$@"'


def find_address(program: Program) -> tuple[str, int]:
    """Return host and port of the endpoint."""
    line = program.wait_for("listening", listener="credentials")
    return line["host"], line["port"]


def read_token(program: Program, pod: Pod) -> str:
    """Return the endpoint token from its file, in the mount namespace of the broker."""
    return (pod.volume_of(program) / "endpoint-token").read_text()


def get(program: Program, pod: Pod, target: str = PATH, **parts: Any) -> RawAnswer:  # noqa: ANN401 - of a request
    """Send a request as an SDK does, with the token that the file contains now."""
    return ask(find_address(program), target, **{"authorization": read_token(program, pod), **parts})


def read_document(pod: Pod, profile: str = "default") -> dict[str, Any]:
    """Return the content of the profile's file, with the field names of the endpoint."""
    document: dict[str, Any] = json.loads((pod.published / f"{profile}.json").read_bytes())
    document["Token"] = document.pop("SessionToken")
    del document["Version"]
    return document


class TestCredentials:
    """Responses with credentials, and when there are none."""

    def test_answers_are_counted_in_metrics_and_status(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        assert [get(program, pod).status for _ in range(2)] == [200, 200]
        assert get(program, pod, authorization="wrong").status == 401
        assert get(program, pod, f"{PATH}/typo").status == 404
        assert sent(find_address(program), b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        samples = {
            line.removeprefix("sts_broker_endpoint_answers_total")
            for line in program.get("/metrics").body.splitlines()
            if line.startswith("sts_broker_endpoint_answers_total{")
        }
        assert samples == {
            '{profile="default",code="200"} 2.0',
            '{profile="default",code="401"} 1.0',
            '{profile="default",code="403"} 0.0',
            '{profile="default",code="503"} 0.0',
            '{profile="",code="400"} 1.0',
            '{profile="",code="401"} 0.0',
            '{profile="",code="403"} 0.0',
            '{profile="",code="404"} 1.0',
        }
        assert program.status()["answers"] == {"200": 2, "401": 1}
        assert json.loads(program.get("/status").body)["answers"] == {"400": 1, "404": 1}

    def test_endpoint_and_files_agree(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        for count in (2, 3):
            answer = get(program, pod)
            assert (answer.status, answer.json) == (200, read_document(pod))
            assert get(program, pod, f"{PATH}/default").body == answer.body
            program.refresh()
            program.wait_for("refreshed", count=count)

    def test_response_is_503_with_the_reason_until_the_first_credentials(self, pod: Pod) -> None:
        pod.misbehave(Misbehaviour.ABSENT)
        program = pod.start()
        program.wait_for("token_unfit")
        answer = get(program, pod)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["message"].startswith("default: token_unavailable: ")
        assert f"default: {answer.json['message'].partition(': ')[2]}\n" == program.get("/readyz").body
        pod.volume.heal()
        program.wait_for("refreshed")
        assert get(program, pod).status == 200

    def test_endpoint_responds_immediately_while_sts_hangs(self, pod: Pod) -> None:
        pod.sts.always(faults.Hang())
        program = pod.start()
        pod.sts.wait_for_calls(1)
        began = time.monotonic()
        assert {get(program, pod).status for _ in range(5)} == {503}
        assert time.monotonic() - began < 2.5

    def test_expired_credentials_give_503_and_their_files_stay(
        self, brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
    ) -> None:
        pod = new_pod(brief_sts(3))
        program = pod.start_and_publish()
        pod.sts.always(faults.SERVICE_UNAVAILABLE)
        eventually(lambda: get(program, pod).status == 503, what="503 after expiry")
        assert "exchange_unavailable" in get(program, pod).json["message"]
        assert (pod.published / "default.json").exists()
        pod.sts.always(None)
        program.refresh()
        eventually(lambda: get(program, pod).status == 200, what="200 after recovery")

    def test_every_profile_is_served_by_its_name(self, pod: Pod) -> None:
        file = pod.root / "broker.yaml"
        file.write_text(
            f"region: eu-west-1\nrole_arn: {pod.role_arn}\nprofiles:\n  - name: reports.eu\n  - name: audit\n"
        )
        program = pod.start(BROKER_CONFIG=str(file), AWS_ROLE_ARN="", AWS_REGION="")
        for name in ("reports.eu", "audit"):
            program.wait_for("refreshed", profile=name)
            assert get(program, pod, f"{PATH}/{name}").json == read_document(pod, name)
        answer = get(program, pod)
        assert answer.status == 404
        assert f"{PATH}/reports.eu, {PATH}/audit" in answer.json["message"]

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
    def test_ipv6_loopback_serves_too(self, pod: Pod) -> None:
        program = pod.start_and_publish(BROKER_ENDPOINT_ADDRESS="[::1]:0")
        host, port = find_address(program)
        assert host == "::1"
        assert get(program, pod, host=f"[::1]:{port}").status == 200

    def test_endpoint_serves_new_credentials_while_the_disk_is_full(self, pod: Pod) -> None:
        program = pod.start(wrapper=tiny_volume(pod))
        program.wait_for("refreshed")
        volume = pod.volume_of(program)
        before = get(program, pod).json["AccessKeyId"]
        fill(volume / "filler")
        program.refresh()
        program.wait_for("publish_failed", count=2)
        assert json.loads((volume / "default.json").read_bytes())["AccessKeyId"] == before
        assert get(program, pod).json["AccessKeyId"] != before
        (volume / "filler").unlink()
        program.wait_for("refreshed", count=2)
        assert (
            json.loads((volume / "default.json").read_bytes())["AccessKeyId"] == get(program, pod).json["AccessKeyId"]
        )


class TestToken:
    """The file with the endpoint's bearer token."""

    def test_token_file_has_no_newline_and_is_readable_for_the_group_only(self, pod: Pod) -> None:
        program = pod.start()
        program.wait_for("listening", listener="credentials")
        file = pod.published / "endpoint-token"
        assert len(file.read_bytes()) == 43
        assert file.read_bytes().isascii()
        assert stat.S_IMODE(file.stat().st_mode) == 0o640

    def test_token_file_has_the_mode_of_the_other_files(self, pod: Pod) -> None:
        pod.start_and_publish(BROKER_PUBLISH_MODE="0444", umask=0o077)
        assert stat.S_IMODE((pod.published / "endpoint-token").stat().st_mode) == 0o444

    def test_token_of_the_previous_start_is_refused(self, pod: Pod) -> None:
        first = pod.start_and_publish()
        before = read_token(first, pod)
        assert get(first, pod).status == 200
        first.signal(signal.SIGKILL)
        first.wait()
        second = pod.start()
        second.wait_for("restored")
        assert read_token(second, pod) != before
        assert get(second, pod, authorization=before).status == 401
        assert get(second, pod).status == 200

    def test_deleted_token_file_is_written_again_with_the_same_token(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        before = read_token(program, pod)
        (pod.published / "endpoint-token").unlink()
        program.refresh()  # wakes the main loop, which otherwise checks within 30 s
        eventually((pod.published / "endpoint-token").exists, what="the token file")
        assert read_token(program, pod) == before

    def test_deleted_directory_is_created_again_with_the_token(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        shutil.rmtree(pod.published)
        program.refresh()
        eventually((pod.published / "default.json").exists, what="the files")
        assert get(program, pod).status == 200

    def test_token_that_cannot_be_written_at_the_start_is_reported_and_written_later(self, pod: Pod) -> None:
        tiny_volume(pod)  # skips the test if it cannot mount
        wrapper = ("unshare", "--mount", "sh", "-c", FILLED, str(pod.published))
        program = pod.start(wrapper=wrapper)
        failed = program.wait_for("publish_failed")
        assert "No space left on device. Raise sizeLimit of the emptyDir" in failed["message"]
        events = [line["event"] for line in program.lines() if line["event"] in {"publish_failed", "listening"}]
        assert events[0] == "publish_failed", "the token is written before the endpoint listens"
        assert ask(find_address(program), authorization="x").status == 401
        eventually(lambda: program.get("/livez").status == 200, what="the main loop")
        (pod.volume_of(program) / "filler").unlink()
        program.wait_for("refreshed")
        assert get(program, pod).status == 200

    def test_publish_directory_that_is_a_file_is_reported_and_run_continues(self, pod: Pod) -> None:
        pod.published.write_text("a file")
        program = pod.start()
        assert (
            "Set publish.directory (BROKER_PUBLISH_DIRECTORY) to a directory."
            in program.wait_for("publish_failed")["message"]
        )
        address = find_address(program)
        assert ask(address, authorization="x").status == 401
        pod.published.unlink()
        program.wait_for("refreshed")
        assert get(program, pod).status == 200


class TestAbuse:
    """Hostile clients, and too many of them."""

    def test_clients_without_the_token_are_refused_and_learn_nothing(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        address, token = find_address(program), read_token(program, pod)
        answers = [
            sent(address, content, finish=True)
            for content in (
                request(),
                request(authorization=token[:-1]),
                request(authorization="\xff" * 60),
                request(authorization=token, host="evil.example"),
                request(authorization=token, host=None),
                request(authorization=token, headers=("Host: 127.0.0.1",)),
                request(authorization=token, headers=("X-Forwarded-For: 127.0.0.1",)),
                request(authorization=token, headers=(f"Authorization: {token}",)),
                request(authorization=token, method="HEAD"),
                request(authorization=token, method="POST", headers=("Content-Length: 2000",)),
                request("/v1/credentials/%2e%2e/credentials", authorization=token),
                request("//v1/credentials", authorization=token),
                request("http://127.0.0.1/v1/credentials", authorization=token),
                request("/v1/credentials/default%00", authorization=token),
                request("/v1/credentials/default/", authorization=token),
                request(authorization="x" * 9000)[:8192],  # what is left unread makes the kernel reset the connection
                b"GET /v1/credentials\r\n\r\n",
                b"\x16\x03\x01 not TLS\r\n\r\n",
            )
        ]
        statuses = [int(answer.split(b" ", 2)[1]) for answer in answers]
        assert statuses == [401, 401, 401, 403, 403, 403, 403, 401, 405, 413, 404, 404, 404, 404, 404, 431, 505, 400]
        assert pod.canaries().found_in(b"".join(answers).decode("latin-1")) == set()
        assert get(program, pod).status == 200

    def test_arbitrary_bytes_neither_get_a_secret_nor_end_the_service(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        address, canaries = find_address(program), pod.canaries()
        texts = st.text(st.characters(max_codepoint=255), max_size=30)

        @settings(deadline=None, max_examples=300, database=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            content=st.binary(max_size=300)
            | st.builds(request, texts, host=texts | st.just("127.0.0.1"), authorization=texts)
            | st.builds(
                request,
                st.just(PATH),
                method=st.sampled_from(["GET", "POST", "HEAD"]),
                authorization=texts,
                headers=st.tuples(texts.map(lambda text: f"Transfer-Encoding: {text}")),
            ),
            cut=st.integers(min_value=0, max_value=300),
        )
        def send_anything(content: bytes, cut: int) -> None:
            answer = sent(address, content[: len(content) - cut], finish=True)
            assert not answer or re.match(rb"HTTP/1\.[01] (400|401|403|405|413|431|501) ", answer)
            assert canaries.found_in(answer.decode("latin-1")) == set()

        send_anything()
        assert get(program, pod).status == 200
        assert program.lines("library") == []

    def test_client_is_served_immediately_while_200_slow_ones_are_connected(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        address = find_address(program)
        with contextlib.ExitStack() as stack:
            for number in range(200):
                client = stack.enter_context(socket.create_connection(address, timeout=10))
                client.sendall(b"GET /v1/cred"[: number % 13])
            took = []
            for _ in range(11):
                began = time.monotonic()
                assert get(program, pod).status == 200
                took.append(time.monotonic() - began)
            assert sorted(took)[5] < 0.1
            assert program.get("/livez").status == 200

    def test_more_connections_than_the_limit_lock_no_client_out(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        address = find_address(program)
        with contextlib.ExitStack() as stack:
            for _ in range(600):
                stack.enter_context(socket.create_connection(address, timeout=10))
            assert get(program, pod).status == 200
            assert program.metric("process_open_fds") < 600

    def test_thousands_of_requests_leak_no_resources(self, pod: Pod) -> None:
        program = pod.start_and_publish()
        address, token = find_address(program), read_token(program, pod)
        chance = random.Random(0)
        contents = [
            request(authorization=token),
            request(authorization=token, close=False) * 3 + request(authorization=token),
            request(),
            request("/nope", authorization=token),
            b"nonsense\r\n\r\n",
        ]

        def send_many() -> tuple[float, int, float]:
            """Send many requests. Return the broker's descriptors, threads and resident bytes afterwards."""
            for _ in range(1500):
                assert sent(address, chance.choice(contents), finish=True).startswith(b"HTTP/1.")
            descriptors = program.metric("process_open_fds")
            return descriptors, len(program.threads()), program.metric("process_resident_memory_bytes")

        descriptors, threads, resident = send_many()
        for _ in range(2):
            again = send_many()
        assert again[0] <= descriptors + 2
        assert again[1] <= threads + 1
        assert again[2] - resident < 1024 * 1024
        assert "library" not in {line["event"] for line in program.lines()}, "and nothing in the log"

    def test_every_response_is_complete_while_generations_change(
        self, brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
    ) -> None:
        pod = new_pod(brief_sts(4))
        program = pod.start_and_publish()
        address, token, answers, enough = (
            find_address(program),
            read_token(program, pod),
            list[bytes](),
            threading.Event(),
        )

        def read() -> None:
            while not enough.is_set():
                answers.append(sent(address, request(authorization=token)))

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        program.wait_for("refreshed", count=4)
        enough.set()
        for reader in readers:
            reader.join()
        assert {parsed(answer).status for answer in answers} == {200}
        seen = {parsed(answer).json["AccessKeyId"]: parsed(answer).body for answer in answers}
        assert len(seen) >= 4
        assert {parsed(answer).body for answer in answers} == set(seen.values()), "one body for each key"

    def test_port_in_use_ends_run_with_exit_code_2_and_names_the_setting(self, pod: Pod) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            ended = pod.run("run", BROKER_ENDPOINT_ADDRESS=address)
        assert ended.code == 2
        fault = f"endpoint.address (BROKER_ENDPOINT_ADDRESS): cannot listen on {address}: Address already in use."
        assert fault in ended.err
        assert not pod.published.exists(), "the broker that has the port keeps its token file"


def test_sdk_with_the_endpoint_follows_each_generation(
    brief_sts: Callable[[float], StsServer], new_pod: Callable[[StsServer], Pod]
) -> None:
    """A single boto3 session with the two variables of the container credentials protocol."""
    pod = new_pod(brief_sts(4))
    program = pod.start_and_publish()
    host, port = find_address(program)
    app = subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo.caller"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(pod.root / "home"),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_STS": pod.sts.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{host}:{port}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(pod.published / "endpoint-token"),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    calls: list[dict[str, Any]] = []
    try:
        assert app.stdout is not None
        deadline = time.monotonic() + 40
        while len({call["access_key_id"] for call in calls}) < 4 and time.monotonic() < deadline:
            calls.append(json.loads(app.stdout.readline()))
    finally:
        app.terminate()
        app.communicate(timeout=10)
    assert [call for call in calls if "failure" in call or call["retries"]] == []
    assert len({call["access_key_id"] for call in calls}) >= 4
    assert {call["arn"].rsplit(":", 1)[1].split("/")[1] for call in calls} == {pod.role_arn.rsplit("/", 1)[1]}
