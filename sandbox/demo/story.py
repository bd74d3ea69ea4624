"""What has happened in a demo so far: tokens, generations, calls, and a sentence for each thing worth telling.

Rules: a call counts as failed when the app says so, and as refused when STS says so, because SDKs hide what they try
again; access key ids are shown shortened, other keys and tokens never.
It refuses to know screens and processes.
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
"""The kubelet's rule, for the point at which a rotation is expected."""


class Actor(enum.Enum):
    """Who did it."""

    DEMO = "demo"
    KUBELET = "kubelet"
    STS = "STS"
    BROKER = "broker"
    APP = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing worth a line."""

    at: datetime
    actor: Actor
    text: str
    trouble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A bound token or a generation of credentials: numbered from 1, due for replacement at `due_at`."""

    number: int
    name: str
    begun_at: datetime
    due_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppCall:
    """One call of the app; `generation` is 0 where its access key id is of none that was published."""

    at: datetime
    access_key_id: str
    generation: int
    life_left: timedelta | None
    failure: str


class Story:
    """Takes facts as they come and keeps them in order; read by the views. `published` is the profile's JSON file."""

    def __init__(self, *, begun_at: datetime, published: Path) -> None:
        self.begun_at = begun_at
        self.happenings: list[Happening] = []
        self.tokens: list[Life] = []
        self.generations: list[Life] = []
        self.calls: list[AppCall] = []
        self.exchanges: list[Call] = []
        self.refusals: list[Call] = []
        self.arn = ""
        self.retries = 0
        self.deaths: list[str] = []
        self.health_port: int | None = None
        self._published = published
        self._last_words = ""

    @property
    def failures(self) -> list[AppCall]:
        """The app's calls that failed."""
        return [call for call in self.calls if call.failure]

    @property
    def signers(self) -> set[str]:
        """The access key ids that the app's calls were signed with."""
        return {call.access_key_id for call in self.calls if call.access_key_id}

    @property
    def refused_exchanges(self) -> list[Call]:
        """The exchanges that STS refused, or that failed on the way."""
        return [call for call in self.exchanges if call.outcome != "Success"]

    @property
    def shortest_life_left(self) -> timedelta | None:
        """The least that was left of the credentials' life when a call was made with them."""
        return min((call.life_left for call in self.calls if call.life_left is not None), default=None)

    def add(self, actor: Actor, text: str, *, at: datetime | None = None, trouble: bool = False) -> None:
        """Tell something."""
        self.happenings.append(Happening(at=at or datetime.now(UTC), actor=actor, text=text, trouble=trouble))

    def rotated(self, rotation: Rotation, fingerprint: str) -> None:
        """Take a token that the kubelet has put in place."""
        lifetime = rotation.expires_at - rotation.at
        token = Life(
            number=rotation.number,
            name=fingerprint,
            begun_at=rotation.at,
            due_at=rotation.at + lifetime * ROTATION_SHARE,
            expires_at=rotation.expires_at,
        )
        self.tokens.append(token)
        verb = "projected" if token.number == 1 else "rotated:"
        self.add(
            Actor.KUBELET,
            f"{verb} token {token.number} ({fingerprint}), lives {lifetime.total_seconds():.0f} s",
            at=rotation.at,
        )

    def asked(self, call: Call) -> None:
        """Take a call from STS's record."""
        refused = call.outcome != "Success"
        if call.action == WEB_IDENTITY:
            self.exchanges.append(call)
            said = f"refused it: {call.outcome}" if refused else "gave a session"
            text = f"token {call.token_fingerprint}: {said}, request {call.request_id}"
            self.add(Actor.STS, text, at=call.time, trouble=refused)
        elif call.action == IDENTITY and refused:
            self.refusals.append(call)
            text = f"refused the app's call: {call.outcome}, request {call.request_id}"
            self.add(Actor.STS, text, at=call.time, trouble=True)

    def logged(self, line: str) -> None:
        """Take a line of the broker's log."""
        fields = _json_object(line)
        if fields is None:
            self._words(Actor.BROKER, line)
            return
        at = datetime.fromisoformat(fields["time"])
        match fields["event"]:
            case "refreshed":
                self._refreshed(fields, at)
            case "listening" if fields["listener"] == "health":
                self.health_port = int(fields["port"])
            case "starting":
                self.add(Actor.BROKER, f"started {fields['message']}", at=at)
            case _ if fields["level"] not in ("debug", "info"):
                self._last_words = fields["message"]
                self.add(Actor.BROKER, fields["message"], at=at, trouble=True)

    def reported(self, line: str) -> None:
        """Take a line of the app."""
        fields = _json_object(line)
        if fields is None:
            self._words(Actor.APP, line)
            return
        at, key = datetime.fromisoformat(fields["at"]), str(fields["access_key_id"])
        life = next((one for one in reversed(self.generations) if one.name == key), None)
        is_news = bool(key) and key not in self.signers
        call = AppCall(
            at=at,
            access_key_id=key,
            generation=life.number if life else 0,
            life_left=life.expires_at - at if life else None,
            failure=str(fields.get("failure", "")),
        )
        self.calls.append(call)
        self.retries += int(fields["retries"])
        self.arn = str(fields.get("arn", self.arn))
        if call.failure:
            self.add(Actor.APP, f"call {len(self.calls)} FAILED: {call.failure}", at=at, trouble=True)
        elif is_news:
            text = f"call {len(self.calls)} is signed by generation {call.generation}, key {shortened(key)}"
            self.add(Actor.APP, f"{text}, {len(self.failures)} failed", at=at)

    def died(self, actor: Actor, code: int) -> None:
        """Take the end of a program that nobody ended."""
        why = f": {self._last_words}" if self._last_words else ""
        self.deaths.append(f"the {actor.value} ended by itself with exit code {code}{why}")
        self.add(actor, f"ended by itself with exit code {code}", trouble=True)

    def _refreshed(self, fields: dict[str, Any], at: datetime) -> None:
        generation = Life(
            number=int(fields["generation"]),
            name=_access_key_id(self._published, fields["expires_at"]),
            begun_at=at,
            due_at=datetime.fromisoformat(fields["next_refresh_at"]),
            expires_at=datetime.fromisoformat(fields["expires_at"]),
        )
        self.generations.append(generation)
        left, due = _s(generation.expires_at - at), _s(generation.due_at - at)
        self.add(
            Actor.BROKER, f"published generation {generation.number}: {left} to live, next refresh in {due}", at=at
        )

    def _words(self, actor: Actor, line: str) -> None:
        if line.strip():
            self._last_words = line.strip()
            self.add(actor, line.strip(), trouble=True)


def shortened(access_key_id: str) -> str:
    """Show an access key id's first and last four characters."""
    return f"{access_key_id[:4]}...{access_key_id[-4:]}"


def _access_key_id(published: Path, expiry: str) -> str:
    """Read whose key the published file holds, if it is still the generation that expires then."""
    document = _json_object(published.read_text()) or {}
    return str(document["AccessKeyId"]) if document.get("Expiration") == expiry else ""


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _s(duration: timedelta) -> str:
    return f"{duration.total_seconds():.1f} s"
