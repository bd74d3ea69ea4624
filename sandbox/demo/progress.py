"""Records what has happened in a demo so far: tokens, generations, calls, and a line of text for each event.

The app reports failed calls. STS's record shows refused calls, which an SDK hides if a retry succeeds. Access key ids
are shortened; no other key and no token is shown. This module does not know screens or processes.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox.aws.faults import WEB_IDENTITY

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.aws.calls import Call
    from sandbox.cluster.kubelet import Rotation

IDENTITY = "GetCallerIdentity"
ROTATION_SHARE = 0.8
"""The share of a token's lifetime after which the kubelet rotates it."""


class Actor(enum.Enum):
    """The program or service that an event belongs to."""

    DEMO = "demo"
    KUBELET = "kubelet"
    STS = "STS"
    BROKER = "broker"
    APP = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the demo, shown as one line."""

    at: datetime
    actor: Actor
    text: str
    is_problem: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifespan:
    """The lifetime of a bound token or a generation of credentials. `due_at` is when it should be replaced."""

    number: int
    name: str
    began_at: datetime
    due_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppCall:
    """One call of the app. `generation` is 0 if its access key id does not belong to a published generation."""

    at: datetime
    access_key_id: str
    generation: int
    remaining: timedelta | None
    failure: str


class Progress:
    """Collects the events of a demo in order, for the views. `published` is the published JSON file of the profile."""

    def __init__(self, *, began_at: datetime, published: Path) -> None:
        self.began_at = began_at
        self.events: list[Event] = []
        self.tokens: list[Lifespan] = []
        self.generations: list[Lifespan] = []
        self.calls: list[AppCall] = []
        self.exchanges: list[Call] = []
        self.refusals: list[Call] = []
        self.arn = ""
        self.retries = 0
        self.unexpected_exits: list[str] = []
        self.health_port: int | None = None
        self._published = published
        self._last_problem = ""

    @property
    def failures(self) -> list[AppCall]:
        """The app's calls that failed."""
        return [call for call in self.calls if call.failure]

    @property
    def signers(self) -> set[str]:
        """The access key ids that the app's calls were signed with."""
        return {call.access_key_id for call in self.calls if call.access_key_id}

    @property
    def failed_exchanges(self) -> list[Call]:
        """The exchanges that STS refused, or that got no response."""
        return [call for call in self.exchanges if call.outcome != "Success"]

    @property
    def shortest_remaining(self) -> timedelta | None:
        """The shortest remaining lifetime of credentials at the time of a call."""
        return min((call.remaining for call in self.calls if call.remaining is not None), default=None)

    def add(self, actor: Actor, text: str, *, at: datetime | None = None, is_problem: bool = False) -> None:
        """Add an event."""
        self.events.append(Event(at=at or datetime.now(UTC), actor=actor, text=text, is_problem=is_problem))

    def add_rotation(self, rotation: Rotation, fingerprint: str) -> None:
        """Add a token that the kubelet has written."""
        lifetime = rotation.expires_at - rotation.at
        token = Lifespan(
            number=rotation.number,
            name=fingerprint,
            began_at=rotation.at,
            due_at=rotation.at + lifetime * ROTATION_SHARE,
            expires_at=rotation.expires_at,
        )
        self.tokens.append(token)
        verb = "projected" if token.number == 1 else "rotated to"
        self.add(
            Actor.KUBELET,
            f"{verb} token {token.number} ({fingerprint}), valid for {lifetime.total_seconds():.0f} s",
            at=rotation.at,
        )

    def add_sts_call(self, call: Call) -> None:
        """Add a call from the record of STS."""
        is_refused = call.outcome != "Success"
        if call.action == WEB_IDENTITY:
            self.exchanges.append(call)
            outcome = f"refused: {call.outcome}" if is_refused else "issued credentials"
            text = f"token {call.token_fingerprint}: {outcome}, request {call.request_id}"
            self.add(Actor.STS, text, at=call.time, is_problem=is_refused)
        elif call.action == IDENTITY and is_refused:
            self.refusals.append(call)
            text = f"refused the app's call: {call.outcome}, request {call.request_id}"
            self.add(Actor.STS, text, at=call.time, is_problem=True)

    def add_broker_line(self, line: str) -> None:
        """Add a line of the broker's log."""
        fields = _parse_json_object(line)
        if fields is None:
            self._add_other_output(Actor.BROKER, line)
            return
        at = datetime.fromisoformat(fields["time"])
        match fields["event"]:
            case "refreshed":
                self._add_generation(fields, at)
            case "listening" if fields["listener"] == "health":
                self.health_port = int(fields["port"])
            case "starting":
                self.add(Actor.BROKER, f"started {fields['message']}", at=at)
            case _ if fields["level"] not in ("debug", "info"):
                self._last_problem = fields["message"]
                self.add(Actor.BROKER, fields["message"], at=at, is_problem=True)

    def add_app_line(self, line: str) -> None:
        """Add a line of the app's output."""
        fields = _parse_json_object(line)
        if fields is None:
            self._add_other_output(Actor.APP, line)
            return
        at, key = datetime.fromisoformat(fields["at"]), str(fields["access_key_id"])
        generation = next((one for one in reversed(self.generations) if one.name == key), None)
        is_new_key = bool(key) and key not in self.signers
        call = AppCall(
            at=at,
            access_key_id=key,
            generation=generation.number if generation else 0,
            remaining=generation.expires_at - at if generation else None,
            failure=str(fields.get("failure", "")),
        )
        self.calls.append(call)
        self.retries += int(fields["retries"])
        self.arn = str(fields.get("arn", self.arn))
        if call.failure:
            self.add(Actor.APP, f"call {len(self.calls)} FAILED: {call.failure}", at=at, is_problem=True)
        elif is_new_key:
            text = f"call {len(self.calls)} is signed by generation {call.generation}, key {shorten(key)}"
            self.add(Actor.APP, f"{text}; failed calls so far: {len(self.failures)}", at=at)

    def add_exit(self, actor: Actor, code: int) -> None:
        """Add the unexpected end of a program."""
        reason = f": {self._last_problem}" if self._last_problem else ""
        self.unexpected_exits.append(f"The {actor.value} ended unexpectedly with exit code {code}{reason}")
        self.add(actor, f"ended unexpectedly with exit code {code}", is_problem=True)

    def _add_generation(self, fields: dict[str, Any], at: datetime) -> None:
        generation = Lifespan(
            number=int(fields["generation"]),
            name=_read_access_key_id(self._published, fields["expires_at"]),
            began_at=at,
            due_at=datetime.fromisoformat(fields["next_refresh_at"]),
            expires_at=datetime.fromisoformat(fields["expires_at"]),
        )
        self.generations.append(generation)
        remaining, due = _seconds(generation.expires_at - at), _seconds(generation.due_at - at)
        text = f"published generation {generation.number}: expires in {remaining}, next refresh in {due}"
        self.add(Actor.BROKER, text, at=at)

    def _add_other_output(self, actor: Actor, line: str) -> None:
        if line.strip():
            self._last_problem = line.strip()
            self.add(actor, line.strip(), is_problem=True)


def shorten(access_key_id: str) -> str:
    """Return the first and last four characters of an access key id."""
    return f"{access_key_id[:4]}...{access_key_id[-4:]}"


def _read_access_key_id(published: Path, expiry: str) -> str:
    """Return the access key id in the published file, or "" if the file has another generation by now."""
    document = _parse_json_object(published.read_text()) or {}
    return str(document["AccessKeyId"]) if document.get("Expiration") == expiry else ""


def _parse_json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.1f} s"
