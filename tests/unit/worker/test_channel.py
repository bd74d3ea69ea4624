"""Jobs and replies as bytes: nothing is lost on the way, and nothing foreign gets in."""

from __future__ import annotations

import builtins
import datetime as dt
import io
import os
import pickle
import subprocess
import traceback
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core import errors, model
from broker.core.errors import BrokerError, ConfigurationError, Disposition, ExchangeError, PublishError, TokenAwaited
from broker.core.model import Configuration, ProfileSpec, PublishSpec, Secret, StsSpec, TokenRequestSpec
from broker.core.notify_targets import HttpTarget, NotifyFailure, SignalTarget
from broker.core.session_sizes import SessionSizes
from broker.core.web_identity_spec import WebIdentityTokenSpec
from broker.core.web_identity_token import WebIdentityToken
from broker.worker import channel, jobs
from broker.worker.channel import MAXIMUM_FRAME_BYTES, ForeignValueError, Frames, encode
from tests.support.fakes import EPOCH, make_chained, make_credentials, make_profile, make_session, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITH_TOKEN = make_profile(web_identity_token=WebIdentityTokenSpec(audiences=("vault",)))
CONFIGURATION = Configuration(
    profiles=(
        WITH_TOKEN,
        make_profile(session_policy='{"Version":"2012-10-17"}', policy_arns=("arn:aws:iam::aws:policy/x",)),
        make_chained("partner", tags=(("team", "a"),), transitive_tag_keys=("team",)),
    ),
    token_request=TokenRequestSpec(host="10.0.0.1", port=443),
    sts=StsSpec(endpoint_url="https://sts.example", use_fips=True),
    publish=PublishSpec(directory="/creds", group=1000),
    warnings=("Careful.",),
)
JOBS: tuple[jobs.Job, ...] = (
    jobs.LoadSettings(environ={"AWS_REGION": "eu-west-1", "odd": "\udcff"}),
    jobs.GetReady(),
    jobs.DecodeToken(text=Secret("eyJ"), origin="/token"),
    jobs.RequestToken(spec=TokenRequestSpec(host="::1", port=6443, timeout_seconds=2.5), audience="sts"),
    jobs.Exchange(sts=StsSpec(), profile=make_profile(), proof=make_token()),
    jobs.Exchange(sts=StsSpec(use_dualstack=True), profile=make_chained("partner"), proof=make_session()),
    jobs.Notify(target=HttpTarget(url="http://127.0.0.1:8686/-/reload", bearer_file="/token")),
    jobs.Notify(target=SignalTarget(signal="HUP", process="nginx")),
    jobs.RequestWebIdentityToken(
        sts=StsSpec(), profile=WITH_TOKEN, session=make_session(), duration=timedelta(seconds=240)
    ),
)
RESULTS = (
    None,
    NotifyFailure(message="It answered 401.", remedy="Set bearer_file."),
    CONFIGURATION,
    make_token(),
    make_token(issued_at=None),
    make_credentials(),
    make_credentials(clock_skew=None),
    jobs.Crash(kind="ZeroDivisionError", frames=("divide (x.py:1)",)),
    make_credentials(sizes=SessionSizes(packed_policy_percent=82, session_token_bytes=1680)),
    WebIdentityToken(
        profile="default", raw=Secret("a.b.c"), received_at=EPOCH, expires_at=EPOCH, lifetime=timedelta(seconds=60)
    ),
)


def iterate_kinds(kind: type[BrokerError] = BrokerError) -> Iterator[type[BrokerError]]:
    """Yield all classes of errors."""
    yield kind
    for each in kind.__subclasses__():
        yield from iterate_kinds(each)


def make_error(kind: type[BrokerError]) -> BrokerError:
    if issubclass(kind, ConfigurationError):
        return kind(("One.", "Two."))
    if issubclass(kind, PublishError):
        return kind("Full.", "Make room.", sink="files", errno=28)
    if issubclass(kind, ExchangeError):
        return kind("Denied.", "Fix it.", code="AccessDenied", http_status=403, request_id="r-1")
    return kind("Failed.", "Fix it.")


KINDS = [kind for kind in iterate_kinds() if kind.__module__ == errors.__name__]
ERRORS = [make_error(kind) for kind in KINDS]


def round_trip(value: object) -> Any:  # noqa: ANN401 - what the value is
    (found,) = Frames().receive(encode(value))
    return found


def frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


class TestRoundTrip:
    """What arrives equals what was sent."""

    @pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
    def test_job(self, job: jobs.Job) -> None:
        request = jobs.Request(number=7, job=job)
        assert round_trip(request) == request

    @pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
    def test_result(self, result: Any) -> None:  # noqa: ANN401 - of any job
        reply = jobs.Reply(number=7, result=result)
        assert round_trip(reply) == reply

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    def test_error_arrives_with_its_text_and_all_attributes(self, error: BrokerError) -> None:
        found = round_trip(jobs.Reply(number=7, result=error)).result
        assert type(found) is type(error)
        assert str(found) == str(error)
        assert vars(found) == vars(error)
        assert found.__traceback__ is None

    def test_error_keeps_an_attribute_that_was_set_later(self) -> None:
        error = TokenAwaited("Soon.")
        error.look_in = timedelta(seconds=3)
        assert round_trip(error).look_in == timedelta(seconds=3)

    def test_error_that_was_raised_arrives_without_its_frames(self) -> None:
        with pytest.raises(TokenAwaited) as caught:
            raise TokenAwaited("Soon.")
        found = round_trip(caught.value)
        assert traceback.extract_tb(found.__traceback__) == []
        with pytest.raises(TokenAwaited, match=r"^Soon\.$"):
            raise found

    def test_there_is_an_example_of_every_class_that_can_be_sent(self) -> None:
        """A class that is added gets an example here, or is none that a worker sends."""
        assert {type(job).__name__ for job in JOBS} == set(str(jobs.Job).split(" | "))
        assert len(KINDS) >= 20

    @given(st.text() | st.text(st.characters(categories=["Cs"])))
    def test_any_text_of_a_secret(self, text: str) -> None:
        found = round_trip(Secret(text))
        assert found.reveal() == text
        assert repr(found) == "<redacted>"

    @given(st.text(), st.text(), st.integers(400, 599) | st.none(), st.text(max_size=5))
    def test_any_text_of_an_error(self, message: str, remedy: str, status: int | None, code: str) -> None:
        error = ExchangeError(message, remedy, code=code, http_status=status)
        found = round_trip(error)
        assert (str(found), vars(found)) == (str(error), vars(error))

    @given(
        st.builds(
            lambda **given: ProfileSpec(**given),  # noqa: PLW0108 - hypothesis would resolve the annotations of a class
            name=st.text(),
            role_arn=st.text(),
            region=st.text(),
            token_file=st.text(),
            duration=st.timedeltas(),
            policy_arns=st.lists(st.text()).map(tuple),
            required=st.booleans(),
        )
    )
    def test_any_profile(self, profile: ProfileSpec) -> None:
        assert round_trip(profile) == profile

    @given(st.datetimes(timezones=st.just(dt.UTC)), st.timedeltas() | st.none())
    def test_any_time(self, at: dt.datetime, skew: timedelta | None) -> None:
        credentials = make_credentials(received_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), clock_skew=skew)
        changed = make_credentials(expires_at=at, clock_skew=skew)
        assert round_trip(changed) == changed
        assert (round_trip(credentials) == changed) is (credentials == changed)

    def test_secrets_have_no_other_pickle_form(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(Secret("x"))


class TestFrames:
    """Bytes arrive in pieces of any size."""

    def test_frame_that_is_split_at_any_byte_is_one_value(self) -> None:
        data = encode(make_token())
        for split in range(len(data) + 1):
            frames = Frames()
            assert [*frames.receive(data[:split]), *frames.receive(data[split:])] == [make_token()]

    def test_values_come_as_soon_as_they_are_complete(self) -> None:
        frames, data = Frames(), encode(1) + encode(2)
        found = [(place, value) for place, byte in enumerate(data, 1) for value in frames.receive(bytes([byte]))]
        assert found == [(len(encode(1)), 1), (len(data), 2)]

    @given(st.lists(st.text(max_size=20)), st.lists(st.integers(1, 50)))
    def test_any_values_in_pieces_of_any_size(self, values: list[str], sizes: list[int]) -> None:
        data = b"".join(map(encode, values))
        frames, found = Frames(), list[str]()
        for size in sizes:
            found += frames.receive(data[:size])
            data = data[size:]
        found += frames.receive(data)
        assert found == values

    def test_frame_over_the_maximum_is_refused_at_its_first_bytes(self) -> None:
        with pytest.raises(ForeignValueError, match=r"^a value of 16,777,217 bytes$"):
            list(Frames().receive((MAXIMUM_FRAME_BYTES + 1).to_bytes(4, "big")))

    def test_frame_of_the_maximum_is_read(self) -> None:
        content = pickle.dumps(b"x" * (MAXIMUM_FRAME_BYTES - 100))
        content += b"." * (MAXIMUM_FRAME_BYTES - len(content))
        (found,) = Frames().receive(frame(content))
        assert len(found) == MAXIMUM_FRAME_BYTES - 100

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes_raise_only_foreign_value_error(self, content: bytes) -> None:
        with suppress(ForeignValueError):
            list(Frames().receive(frame(content)))

    @pytest.mark.parametrize("content", [b"", b"\x80\x05", pickle.dumps(make_profile())[:-20]])
    def test_incomplete_pickle_is_foreign(self, content: bytes) -> None:
        with pytest.raises(ForeignValueError):
            list(Frames().receive(frame(content)))


class Reduced:
    """A value whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:  # noqa: ANN401 - of pickle
        return self._call


def name_global(module: str, name: str) -> bytes:
    """Return a pickle whose value is this global."""
    opcodes = pickle.PROTO + b"\x04"
    for text in (module, name):
        encoded = text.encode()
        opcodes += pickle.SHORT_BINUNICODE + bytes([len(encoded)]) + encoded
    return opcodes + pickle.STACK_GLOBAL + pickle.STOP


def name_value(module: str, name: str, attributes: dict[str, object]) -> bytes:
    """Return a pickle of a value of the broker, as the channel writes it."""
    return pickle.dumps(("value", module, name, attributes))[:-1] + pickle.BINPERSID + pickle.STOP


class TestForeignValues:
    """A worker that was taken over cannot make the resident process run code."""

    @pytest.mark.parametrize(
        "value",
        [
            Reduced(os.system, "true"),
            Reduced(builtins.eval, "1"),
            Reduced(builtins.getattr, "x", "upper"),
            Reduced(subprocess.Popen, ["true"]),
            Reduced(pickle.loads, b""),
            Reduced(os.getpid),
            os.getpid,
            Exception("x"),
            ZeroDivisionError(),
            {1, 2}.__class__,
            complex(1, 2),
            io.BytesIO(),
            dt.date(2026, 1, 1),
        ],
        ids=lambda value: f"{value!r:.40}".partition(" at 0x")[0],
    )
    def test_value_that_is_not_the_brokers_is_refused(self, value: object) -> None:
        with pytest.raises(ForeignValueError):
            list(Frames().receive(frame(pickle.dumps(value))))

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_refused_call_is_never_made(self, protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
        called: list[str] = []
        content = pickle.dumps(Reduced(os.system, "true"), protocol)
        monkeypatch.setattr(os, "system", called.append)
        monkeypatch.setattr("posix.system", called.append)
        with pytest.raises(ForeignValueError, match=r"system"):
            list(Frames().receive(frame(content)))
        assert called == []

    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("os", "system"),
            ("builtins", "eval"),
            ("datetime", "sys"),
            ("datetime", "date"),
            (model.__name__, "re"),
            (model.__name__, "Struct"),
            (model.__name__, "printable"),
            (model.__name__, "datetime"),
            (model.__name__, "Secret.reveal"),
            (model.__name__, "Secret.__init__.__globals__"),
            (model.__name__, "__builtins__"),
            (errors.__name__, "Enum"),
            (errors.__name__, "ClassVar"),
            (errors.__name__, "Exception"),
            (jobs.__name__, "Job"),
            (jobs.__name__, "field"),
            (channel.__name__, "_Unpickler"),
            (channel.__name__, "_decode"),
            (channel.__name__, "pickle"),
            ("broker.worker", "pool"),
            ("broker.worker.launch", "spawn_worker"),
            ("broker.core.model.__dict__", "Secret"),
            ("", ""),
        ],
    )
    def test_name_that_is_no_value_of_the_broker_is_refused(self, module: str, name: str) -> None:
        for content in (name_global(module, name), name_value(module, name, {})):
            with pytest.raises(ForeignValueError):
                list(Frames().receive(frame(content)))

    def test_value_of_the_broker_is_built(self) -> None:
        """Proves that the names above are refused for what they are."""
        content = name_value(jobs.__name__, "Request", {"number": 1, "job": None})
        assert list(Frames().receive(frame(content))) == [jobs.Request(number=1, job=None)]  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["ProfileSpec", "BoundToken"])
    def test_class_cannot_be_changed(self, name: str) -> None:
        """BUILD sets attributes of what is on the stack, which may be a class."""
        state = pickle.NONE + pickle.EMPTY_DICT + pickle.BINUNICODE + b"\x01\0\0\0x" + pickle.NONE + pickle.SETITEM
        content = name_global(model.__name__, name)[:-1] + state + pickle.TUPLE2 + pickle.BUILD + pickle.STOP
        with pytest.raises(ForeignValueError):
            list(Frames().receive(frame(content)))
        assert not hasattr(getattr(model, name), "x")

    @pytest.mark.parametrize(
        "parts",
        [
            ("secret", 1),
            ("error", "Disposition", "", {}),
            ("error", "x", "", {}),
            ("value", jobs.__name__, "Request", {}),
            "x",
            (),
        ],
    )
    def test_parts_of_no_value_are_refused(self, parts: object) -> None:
        content = pickle.dumps(parts)[:-1] + pickle.BINPERSID + pickle.STOP
        with pytest.raises(ForeignValueError):
            list(Frames().receive(frame(content)))

    @pytest.mark.parametrize("kind", [Secret, Disposition, ProfileSpec])
    def test_error_is_made_of_no_other_class(self, kind: type) -> None:
        reduced = Reduced(channel._make_error, kind, {"text": "x"})
        with pytest.raises(ForeignValueError):
            list(Frames().receive(frame(pickle.dumps(reduced))))

    def test_reason_quotes_nothing_of_the_value(self) -> None:
        content = pickle.dumps(Reduced(Secret, "eyJhidden", "eyJhidden"))
        with pytest.raises(ForeignValueError) as caught:
            list(Frames().receive(frame(content)))
        assert "hidden" not in "".join(traceback.format_exception(caught.value))
