"""The token in the file: read each time, and refused with a sentence that says what to change."""

from __future__ import annotations

import base64
import json
import os
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from broker.core.errors import TokenAudienceMismatch, TokenError, TokenExpired, TokenMalformed, TokenUnavailable
from broker.tokens.decoding import parse_token
from broker.tokens.token_file import (
    MAXIMUM_TOKEN_LENGTH,
    FileTokenSource,
    find_unfitness,
    read_token_text,
)
from tests.support.fakes import AUDIENCE, EPOCH, FakeClock, decode_at_once, make_jwt, make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.core.model import BoundToken, Secret
    from broker.tokens.token_file import OnDecoded


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


@pytest.fixture
def source(path: Path, clock: FakeClock) -> FileTokenSource:
    return FileTokenSource(str(path), clock, decode=decode_at_once)


def read(source: FileTokenSource) -> BoundToken:
    """Return the token, which is decoded at once."""
    token = source.read(AUDIENCE)
    assert token is not None
    return token


def encoded(payload: object, header: object = None) -> str:
    parts = [header or {"alg": "RS256"}, payload]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "c2ln"]
    )


def test_valid_token_is_returned_with_its_claims(path: Path, source: FileTokenSource) -> None:
    text = make_jwt()
    path.write_text(text)
    token = read(source)
    assert token.raw.reveal() == text
    assert token.claims.issuer == "https://oidc.example/cluster"
    assert token.claims.subject == "system:serviceaccount:demo:app"
    assert token.claims.audiences == (AUDIENCE,)
    assert token.claims.issued_at == EPOCH
    assert token.claims.not_before is None
    assert token.claims.expires_at == EPOCH + timedelta(hours=1)
    assert (token.claims.namespace, token.claims.service_account) == ("demo", "app")
    assert (token.claims.pod, token.claims.node) == ("app-7d9c5b6f8-x2x7k", "node-1")
    assert (token.claims.key_id, token.claims.algorithm) == ("key-1", "RS256")


def test_white_space_around_the_token_is_not_sent(path: Path, source: FileTokenSource) -> None:
    path.write_text(f"\n {make_jwt()}\r\n")
    assert read(source).raw.reveal() == make_jwt()


def test_fingerprint_differs_between_tokens_and_is_stable(path: Path, source: FileTokenSource) -> None:
    path.write_text(make_jwt())
    first = read(source).fingerprint
    assert read(source).fingerprint == first
    path.write_text(make_jwt(serial=1))
    assert read(source).fingerprint != first


def test_printed_token_shows_no_secret(path: Path, source: FileTokenSource) -> None:
    path.write_text(make_jwt())
    assert make_jwt().split(".")[2] not in repr(source.read(AUDIENCE))


def test_rotation_by_symlink_swap_is_seen_at_the_next_read(tmp_path: Path, clock: FakeClock) -> None:
    """The kubelet does not rewrite the file: it renames a link onto `..data` that points to a new directory."""
    for generation, serial in (("..1", 1), ("..2", 2)):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "token").write_text(make_jwt(serial=serial))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    source = FileTokenSource(str(tmp_path / "token"), clock, decode=decode_at_once)
    assert read(source).raw.reveal() == make_jwt(serial=1)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert read(source).raw.reveal() == make_jwt(serial=2)


def test_missing_file_is_unavailable_until_it_exists(path: Path, source: FileTokenSource) -> None:
    """The file may appear late, or be missing for a moment during a rotation (amazon-eks-pod-identity-webhook#34)."""
    with pytest.raises(TokenUnavailable, match="No such file") as caught:
        source.read(AUDIENCE)
    assert str(path) in caught.value.message
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in caught.value.remedy
    path.write_text(make_jwt())
    assert read(source).raw.reveal() == make_jwt()


@pytest.mark.parametrize("content", ["", "\n", " \t\r\n"])
def test_empty_file_is_unavailable_not_malformed(path: Path, source: FileTokenSource, content: str) -> None:
    path.write_text(content)
    with pytest.raises(TokenUnavailable, match="empty"):
        source.read(AUDIENCE)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkdir, "a directory"),
        (os.mkfifo, "a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "a character device"),
    ],
)
def test_other_kind_of_file_is_named_and_does_not_block(
    path: Path, source: FileTokenSource, make: Callable[[Path], None], kind: str
) -> None:
    make(path)
    with pytest.raises(TokenUnavailable) as caught:
        source.read(AUDIENCE)
    assert caught.value.message == f"No token in {path}: it is {kind}; expected a regular file."
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in caught.value.remedy


def test_pipe_on_the_command_line_is_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as pipe:
        pipe.write(make_jwt())
        pipe.close()
        assert read_token_text(f"/dev/fd/{reading}", accepts_pipes=True) == make_jwt()


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000])
def test_impossible_path_is_unavailable(path: str, clock: FakeClock) -> None:
    """A YAML file can have such a path; it must not end the loop."""
    with pytest.raises(TokenUnavailable):
        FileTokenSource(path, clock, decode=decode_at_once).read(AUDIENCE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_names_fsgroup(path: Path, source: FileTokenSource) -> None:
    path.write_text(make_jwt())
    path.chmod(0)
    with pytest.raises(TokenUnavailable) as caught:
        source.read(AUDIENCE)
    assert "fsGroup" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_file_of_another_user_names_fsgroup(path: Path, source: FileTokenSource) -> None:
    """The same test for root, who becomes the user nobody for the read."""
    path.write_text(make_jwt())
    path.chmod(0o600)
    path.parent.chmod(0o755)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(TokenUnavailable, match="Permission denied") as caught:
            source.read(AUDIENCE)
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert "fsGroup" in caught.value.remedy


def test_token_of_the_maximum_length_is_read(path: Path) -> None:
    path.write_text("x" * MAXIMUM_TOKEN_LENGTH)
    assert read_token_text(str(path)) == "x" * MAXIMUM_TOKEN_LENGTH


def test_token_one_character_longer_is_malformed(path: Path) -> None:
    path.write_text("x" * (MAXIMUM_TOKEN_LENGTH + 1))
    with pytest.raises(TokenMalformed, match="20,000"):
        read_token_text(str(path))


def test_endless_file_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(TokenMalformed, match="20,000"):
        read_token_text("/dev/zero", accepts_pipes=True)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (make_jwt().encode("utf-16"), "looks like UTF-16"),
        (make_jwt().encode("utf-16-be"), "looks like UTF-16"),
        (make_jwt().encode("utf-16-le"), "looks like UTF-16"),
        (f"{make_jwt()}\r\n".encode("utf-8-sig"), "begins with the byte order mark of UTF-8"),
        (make_jwt().encode() + b"\xe9", "contains a byte that is not ASCII"),
        (b"\x1f\x8b\x08\x00\x00", "contains a byte that is not ASCII"),
    ],
    ids=["utf-16", "utf-16-be", "utf-16-le", "utf-8-sig", "latin-1", "gzip"],
)
def test_encoding_other_than_ascii_is_named(path: Path, source: FileTokenSource, content: bytes, found: str) -> None:
    path.write_bytes(content)
    with pytest.raises(TokenMalformed) as caught:
        source.read(AUDIENCE)
    assert caught.value.message == f"The token in {path} {found}; expected plain ASCII."
    assert caught.value.remedy.startswith("Write it as plain ASCII, without a byte order mark.")


BASE = {"iss": "https://i", "sub": "s", "aud": ["a"], "exp": 1_800_000_000}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("abc", id="one part"),
        pytest.param("a.b.c", id="not base64"),
        pytest.param("\N{SNOWMAN}" * 8, id="not ASCII"),
        pytest.param(encoded([1]), id="payload is a list"),
        pytest.param(encoded("text"), id="payload is text"),
        pytest.param(encoded(BASE, header=[1]), id="header is a list"),
        *(
            pytest.param(encoded({name: value for name, value in BASE.items() if name != missing}), id=f"no {missing}")
            for missing in ("iss", "sub", "exp")
        ),
        *(
            pytest.param(encoded({**BASE, name: value}), id=f"{name}={value!r}"[:40])
            for name, value in (
                ("exp", None),
                ("exp", True),
                ("exp", "soon"),
                ("exp", 1e300),
                ("exp", float("nan")),
                ("exp", float("inf")),
                ("exp", 10**400),
                ("iat", "then"),
                ("nbf", [1]),
                ("aud", None),
                ("aud", 5),
                ("kubernetes.io", "text"),
                ("kubernetes.io", {"pod": "text"}),
            )
        ),
        pytest.param(
            ".".join(["e30", base64.urlsafe_b64encode(b"[" * 9000).decode(), "c2ln"]), id="payload nested too deep"
        ),
    ],
)
def test_text_without_a_bound_token_is_malformed_and_not_quoted(path: Path, source: FileTokenSource, text: str) -> None:
    path.write_text(text)
    with pytest.raises(TokenMalformed) as caught:
        source.read(AUDIENCE)
    assert text not in "".join(traceback.format_exception(caught.value))


def test_token_without_iat_and_kubernetes_claims_is_accepted() -> None:
    """Other issuers omit these claims."""
    token = parse_token(encoded(BASE), origin="x")
    assert token.claims.issued_at is None
    assert (token.claims.namespace, token.claims.pod, token.claims.key_id) == ("", "", "")


def test_audience_may_be_a_single_string() -> None:
    assert parse_token(make_jwt(audience="sts"), origin="x").claims.audiences == ("sts",)


def test_malformed_token_leaves_the_next_good_one_readable(path: Path, source: FileTokenSource) -> None:
    for content in (make_jwt(), "half a tok", make_jwt()):
        path.write_text(content)
        try:
            assert read(source).raw.reveal() == content
        except TokenMalformed:
            assert content == "half a tok"


def test_expired_token_names_its_expiry_and_the_kubelet(path: Path, clock: FakeClock, source: FileTokenSource) -> None:
    path.write_text(make_jwt())
    clock.advance(timedelta(hours=1, seconds=90))
    with pytest.raises(TokenExpired, match=r"expired at 2026-11-23T13:00:00Z, 0:01:30 ago") as caught:
        source.read(AUDIENCE)
    assert "kubelet" in caught.value.remedy


def test_token_is_expired_from_its_exp_on() -> None:
    token = make_token()
    last = EPOCH + timedelta(hours=1)
    assert find_unfitness(token, audience=AUDIENCE, now=last - timedelta(seconds=1), origin="x") is None
    assert isinstance(find_unfitness(token, audience=AUDIENCE, now=last, origin="x"), TokenExpired)


def test_token_that_is_read_twice_still_expires(path: Path, clock: FakeClock, source: FileTokenSource) -> None:
    """An unchanged file is not parsed again, but its token is checked again."""
    path.write_text(make_jwt())
    source.read(AUDIENCE)
    clock.jump(timedelta(hours=2))
    with pytest.raises(TokenExpired):
        source.read(AUDIENCE)


def test_token_for_another_audience_names_both(path: Path, source: FileTokenSource) -> None:
    path.write_text(make_jwt(audience=["https://kubernetes.default.svc", "openshift"]))
    with pytest.raises(TokenAudienceMismatch) as caught:
        source.read(AUDIENCE)
    assert "has audience https://kubernetes.default.svc, openshift; expected sts.amazonaws.com" in caught.value.message
    assert "BROKER_AUDIENCE" in caught.value.remedy


def test_token_without_an_audience_reports_none() -> None:
    fault = find_unfitness(make_token(audiences=()), audience=AUDIENCE, now=EPOCH, origin="x")
    assert fault is not None
    assert "has audience none" in fault.message


def test_one_of_several_audiences_is_enough(path: Path, source: FileTokenSource) -> None:
    path.write_text(make_jwt(audience=["other", AUDIENCE]))
    assert source.read(AUDIENCE)
    assert source.read("other")


def test_wrong_audience_is_reported_before_expiry() -> None:
    """A rotation would not fix it."""
    fault = find_unfitness(make_token(), audience="other", now=datetime.max.replace(tzinfo=UTC), origin="x")
    assert isinstance(fault, TokenAudienceMismatch)


def test_every_token_error_has_exit_code_3() -> None:
    kinds: list[type[TokenError]] = [TokenUnavailable, TokenMalformed, TokenExpired, TokenAudienceMismatch]
    assert {kind.exit_code for kind in kinds} == {3}


class Decoder:
    """A worker that decodes when the test lets it, or refuses at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[Secret, OnDecoded]] = []
        self.refusal: TokenError | None = None
        self.woken = 0

    def decode(self, text: Secret, origin: str, on_decoded: OnDecoded) -> None:
        """Begin to decode."""
        del origin
        self.asked.append((text, on_decoded))
        if self.refusal is not None:
            on_decoded(self.refusal)

    def answer(self, number: int = -1) -> None:
        """Decode what was asked for."""
        text, on_decoded = self.asked[number]
        decode_at_once(text, "x", on_decoded)

    def fail(self) -> None:
        """Answer the last question as a worker does that was killed."""
        self.asked[-1][1](TokenUnavailable("The worker ended.", "Report it."))

    def wake(self) -> None:
        """Count."""
        self.woken += 1


class TestDecodingElsewhere:
    """A worker decodes the token, while the loop goes on."""

    @pytest.fixture
    def decoder(self) -> Decoder:
        return Decoder()

    @pytest.fixture
    def waiting(self, path: Path, clock: FakeClock, decoder: Decoder) -> FileTokenSource:
        path.write_text(make_jwt())
        return FileTokenSource(str(path), clock, decode=decoder.decode, wake=decoder.wake)

    def test_first_token_is_returned_when_it_has_been_decoded(self, waiting: FileTokenSource, decoder: Decoder) -> None:
        assert waiting.read(AUDIENCE) is None
        assert waiting.read(AUDIENCE) is None
        assert len(decoder.asked) == 1, "one question for one text"
        decoder.answer()
        assert decoder.woken == 1
        assert read(waiting).raw.reveal() == make_jwt()

    def test_token_that_is_no_longer_in_the_file_is_not_used_while_the_next_one_is_decoded(
        self, path: Path, waiting: FileTokenSource, decoder: Decoder
    ) -> None:
        waiting.read(AUDIENCE)
        decoder.answer()
        path.write_text(make_jwt(serial=1))
        assert waiting.read(AUDIENCE) is None
        decoder.answer()
        assert read(waiting).raw.reveal() == make_jwt(serial=1)

    def test_answer_for_a_text_that_has_changed_since_is_ignored(
        self, path: Path, waiting: FileTokenSource, decoder: Decoder
    ) -> None:
        waiting.read(AUDIENCE)
        path.write_text(make_jwt(serial=1))
        waiting.read(AUDIENCE)
        decoder.answer(0)
        assert decoder.woken == 0
        assert waiting.read(AUDIENCE) is None
        decoder.answer(1)
        assert read(waiting).raw.reveal() == make_jwt(serial=1)

    def test_malformed_token_is_decoded_once_and_replaces_the_earlier_one(
        self, path: Path, waiting: FileTokenSource, decoder: Decoder
    ) -> None:
        waiting.read(AUDIENCE)
        decoder.answer()
        path.write_text("nonsense")
        assert waiting.read(AUDIENCE) is None
        decoder.answer()
        for _ in range(3):
            with pytest.raises(TokenMalformed):
                waiting.read(AUDIENCE)
        assert len(decoder.asked) == 2

    def test_failed_worker_is_asked_again_after_a_second(
        self, clock: FakeClock, waiting: FileTokenSource, decoder: Decoder
    ) -> None:
        assert waiting.read(AUDIENCE) is None
        decoder.fail()
        for _ in range(3):
            with pytest.raises(TokenUnavailable, match="The worker ended"):
                waiting.read(AUDIENCE)
        assert len(decoder.asked) == 1, "profiles that share the file do not ask in turn"
        clock.advance(timedelta(seconds=1))
        assert waiting.read(AUDIENCE) is None
        decoder.answer()
        assert read(waiting).raw.reveal() == make_jwt()

    def test_worker_that_cannot_be_started_is_no_busy_loop(self, waiting: FileTokenSource, decoder: Decoder) -> None:
        """Each answer wakes the loop, which reads again."""
        decoder.refusal = TokenUnavailable("No process.", "Raise the process limit.")
        for _ in range(10):
            with pytest.raises(TokenUnavailable, match="No process"):
                waiting.read(AUDIENCE)
        assert decoder.woken <= 1
        assert len(decoder.asked) == 1
