"""The verb `credentials`: which profile it prints, and that it prints only credentials that an SDK can use."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.cli import main
from broker.core.errors import PublishError
from broker.publish.formats import credential_process_json
from broker.publish.reader import show
from tests.support.fakes import make_credentials
from tests.support.program import run_to_end

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, profile: str, **changes: Any) -> bytes:  # noqa: ANN401 - any field
    """Publish credentials of a profile that last an hour. Return the content of the file."""
    serial = sum(map(ord, profile))
    content = credential_process_json(make_credentials(received_at=datetime.now(UTC), serial=serial, **changes))
    (directory / f"{profile}.json").write_bytes(content)
    return content


def print_credentials(directory: Path, profile: str = "", **environ: str) -> bytes:
    """Return the output of the verb."""
    output = io.BytesIO()
    show(directory=str(directory), profile=profile, environ=environ, output=output)
    return output.getvalue()


def fail_printing(directory: Path, profile: str = "") -> str:
    """Run the verb, which must print nothing and fail. Return the text of the error."""
    output = io.BytesIO()
    with pytest.raises(PublishError) as caught:
        show(directory=str(directory), profile=profile, environ={}, output=output)
    assert output.getvalue() == b""
    assert caught.value.remedy
    return str(caught.value)


class TestProfile:
    """Which profile is printed."""

    def test_named_profile_is_printed_as_published(self, tmp_path: Path) -> None:
        contents = {name: write(tmp_path, name) for name in ("default", "audit", "reports.eu")}
        assert {name: print_credentials(tmp_path, name) for name in contents} == contents

    def test_without_a_name_the_default_profile_is_printed(self, tmp_path: Path) -> None:
        write(tmp_path, "audit")
        content = write(tmp_path, "default")
        assert print_credentials(tmp_path) == content

    def test_without_a_name_or_default_the_only_profile_is_printed(self, tmp_path: Path) -> None:
        (tmp_path / ".audit.json.new").write_text("half of")
        (tmp_path / ".hidden.json").write_text("{}")
        (tmp_path / "config").write_text("[profile audit]")
        content = write(tmp_path, "audit")
        assert print_credentials(tmp_path) == content

    def test_several_profiles_without_a_default_are_an_error_that_lists_them(self, tmp_path: Path) -> None:
        write(tmp_path, "b")
        write(tmp_path, "a")
        assert (
            fail_printing(tmp_path)
            == f"Several profiles are published in {tmp_path}: a, b. Choose one with --profile NAME."
        )

    def test_without_a_directory_that_of_the_environment_is_used(self, tmp_path: Path) -> None:
        content, output = write(tmp_path, "default"), io.BytesIO()
        environ = {"BROKER_PUBLISH_DIRECTORY": str(tmp_path), "AWS_ROLE_ARN": "not-an-arn"}
        show(directory="", profile="", environ=environ, output=output)
        assert output.getvalue() == content

    @pytest.mark.parametrize(
        "name", ["../default", "/etc/passwd", "a/b", ".", "..", ".hidden", "a\0b", "a\nb", "é", "x" * 65, "-", "a b"]
    )
    def test_invalid_profile_name_is_refused_and_no_file_read(self, tmp_path: Path, name: str) -> None:
        inside = tmp_path / "inside"
        inside.mkdir()
        write(tmp_path, "default")
        assert "is not a valid profile name" in fail_printing(inside, name)


class TestUnusable:
    """Nothing on standard output, and an error that says what to change."""

    def test_nothing_published_yet_says_where_to_look(self, tmp_path: Path) -> None:
        assert fail_printing(tmp_path).startswith(
            f"No credentials are published in {tmp_path} yet. Check the broker's log"
        )

    def test_missing_directory_and_missing_profile_name_the_path(self, tmp_path: Path) -> None:
        assert fail_printing(tmp_path / "none").startswith(f"Cannot read {tmp_path}/none: No such file or directory.")
        assert fail_printing(tmp_path, "audit").startswith(
            f"Cannot read {tmp_path}/audit.json: No such file or directory."
        )
        assert "--directory" in fail_printing(tmp_path / "none")

    def test_expired_credentials_are_refused_with_their_expiry(self, tmp_path: Path) -> None:
        write(tmp_path, "default", expires_at=datetime(2026, 11, 23, 12, tzinfo=UTC) - timedelta(days=1))
        assert "expired at 2026-11-22T12:00:00Z." in fail_printing(tmp_path)

    @pytest.mark.parametrize(
        "change",
        [
            {"Version": 2},
            {"Version": "1"},
            {"SessionToken": ""},
            {"SecretAccessKey": None},
            {"AccessKeyId": "a\nb"},
            {"Expiration": "soon"},
            {"Expiration": "2099-01-01T00:00:00"},
            {"Expiration": 1795478400},
        ],
    )
    def test_incomplete_credentials_are_not_printed(self, tmp_path: Path, change: dict[str, object]) -> None:
        document = json.loads(write(tmp_path, "default")) | change
        (tmp_path / "default.json").write_text(json.dumps(document))
        assert "does not contain credentials" in fail_printing(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'"Version"', b"\xff\xfe", b"[" * 20_000, b'{"Version": 1'])
    def test_other_content_is_not_printed(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "default.json").write_bytes(content)
        assert "does not contain credentials" in fail_printing(tmp_path)

    def test_pipe_does_not_block_the_reader(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "default.json")
        assert fail_printing(tmp_path) == (
            f"Cannot read {tmp_path}/default.json: it is a FIFO; expected a regular file. "
            "Remove it; the broker publishes the file again."
        )

    def test_directory_with_the_name_of_the_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "default.json").mkdir()
        assert fail_printing(tmp_path).startswith(f"Cannot read {tmp_path}/default.json: it is a directory; expected")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_unreadable_file_is_an_error_that_names_the_mode(self, tmp_path: Path) -> None:
        write(tmp_path, "default")
        (tmp_path / "default.json").chmod(0)
        assert "BROKER_PUBLISH_MODE" in fail_printing(tmp_path)


class TestVerb:
    """The program as an SDK starts it."""

    def test_credentials_go_to_standard_output_alone(
        self, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        content = write(tmp_path, "audit")
        assert main.main(["credentials", "--directory", str(tmp_path), "--profile", "audit"]) == 0
        assert capfdbinary.readouterr() == (content, b"")

    def test_without_usable_credentials_the_exit_code_is_5_with_the_cause(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main.main(["credentials", "--directory", str(tmp_path)]) == 5
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"sts-broker: No credentials are published in {tmp_path} yet.")

    def test_verb_imports_no_large_library(self, tmp_path: Path) -> None:
        """SDKs start it at each of their refreshes."""
        write(tmp_path, "default")
        ended = run_to_end(
            "credentials",
            environment={"PYTHONPROFILEIMPORTTIME": "1", "BROKER_PUBLISH_DIRECTORY": str(tmp_path)},
            directory=tmp_path,
        )
        assert ended.code == 0
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ended.err.splitlines() if "|" in line}
        assert "argparse" in imported
        assert imported.isdisjoint(
            {"pydantic", "botocore", "httptools", "jwt", "tenacity", "yaml", "prometheus_client"}
        )
