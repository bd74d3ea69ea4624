"""With the reduced botocore data, STS has the same endpoints as with the full data. Real clients, no network."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import botocore
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

from image.reduce_botocore import MODEL_PREFIXES, SERVICE, SHARED_FILES, reduce_data, reduce_endpoints

FULL: Final = Path(botocore.__file__).parent / "data"
ENDPOINTS: Final = json.loads((FULL / "endpoints.json").read_text(encoding="utf-8"))
RULE_PARTITIONS: Final = json.loads((FULL / "partitions.json").read_text(encoding="utf-8"))["partitions"]
PARTITIONS: Final = sorted({entry["partition"] for entry in ENDPOINTS["partitions"]})
# One that no partition's pattern matches, and one that matches a pattern but does not exist.
UNLISTED_REGIONS: Final = ("mars-north-1", "eu-central-99")
PLAIN: Final = Config()
FIPS: Final = Config(use_fips_endpoint=True)
DUALSTACK: Final = Config(use_dualstack_endpoint=True)
VARIANTS: Final = (PLAIN, FIPS, DUALSTACK, FIPS.merge(DUALSTACK))


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that the script has reduced."""
    data = tmp_path_factory.mktemp("botocore") / "data"
    others = [entry for entry in FULL.iterdir() if entry.is_dir() and entry.name != SERVICE]
    # The full data has 400 directories. Two of them are enough to see that the others are removed.
    spared = {entry.name for entry in sorted(others)[2:]}
    shutil.copytree(FULL, data, ignore=lambda folder, _: spared if Path(folder) == FULL else set())
    reduce_data(data)
    return data


@pytest.fixture(autouse=True)
def no_ambient_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own AWS settings out of the clients."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


class Wire:
    """A session on one data directory. Its clients send nothing; they record the request instead."""

    def __init__(self, data: Path) -> None:
        """Read models only from `data`."""
        self._session = botocore.session.Session()
        loader = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
        # In the image, the reduced data replaces botocore's own. If endpoints.json is anywhere else, botocore doesn't
        # use its endpoint rules.
        loader.BUILTIN_DATA_PATH = str(data)
        self._session.register_component("data_loader", loader)
        self._session.register("before-send.sts", self._keep)
        self._sent: list[tuple[str, str]] = []

    def _keep(self, request: Any, **_: object) -> AWSResponse:  # noqa: ANN401  (botocore ships no types)
        scope = re.search(rb"Credential=[^/]+/\d+/([^,]+)", request.headers.get("Authorization", b""))
        self._sent.append((request.url, scope[1].decode() if scope else "unsigned"))
        return AWSResponse(request.url, 200, {}, _Body())

    def outcome(self, region: str, config: Config) -> tuple[Any, ...]:
        """Return the URLs of a signed and an unsigned call and the signing scope, or the error raised."""
        self._sent.clear()
        try:
            client = self._session.create_client(
                SERVICE,
                region_name=region,
                config=config,
                aws_access_key_id="AKIDEXAMPLE",
                aws_secret_access_key="invented",
            )
            client.get_caller_identity()
            client.assume_role_with_web_identity(
                RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="any", WebIdentityToken="invented"
            )
        except BotoCoreError as error:
            return type(error).__name__, str(error), tuple(self._sent)
        return client.meta.endpoint_url, client.meta.region_name, client.meta.partition, tuple(self._sent)

    def partition_of(self, region: str) -> str | None:
        """Return the partition that the legacy resolver finds for a Region."""
        try:
            return cast("str", self._session.get_partition_for_region(region))
        except BotoCoreError:
            return None

    def regions(self, partition: str) -> tuple[list[str], list[str]]:
        """Return the Regions in which a partition offers STS, without and with its pseudo-Regions."""
        regions_of = self._session.get_available_regions
        return regions_of(SERVICE, partition), regions_of(SERVICE, partition, allow_non_regional=True)


class _Body:
    """An empty STS response."""

    def stream(self) -> Iterator[bytes]:
        yield b"<Any><GetCallerIdentityResult/><AssumeRoleWithWebIdentityResult/><ResponseMetadata/></Any>"


@pytest.fixture(scope="module")
def wires(reduced: Path) -> tuple[Wire, Wire]:
    """Return a session on the full data and one on the reduced data."""
    return Wire(FULL), Wire(reduced)


def regions_of(partition: str) -> list[str]:
    """Return every Region name in botocore's data for a partition, including pseudo-Regions."""
    (legacy,) = (entry for entry in ENDPOINTS["partitions"] if entry["partition"] == partition)
    rules = [region for entry in RULE_PARTITIONS if entry["id"] == partition for region in entry["regions"]]
    return sorted({*legacy["regions"], *legacy["services"][SERVICE]["endpoints"], *rules})


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_region_resolves_as_with_the_full_data(partition: str, wires: tuple[Wire, Wire]) -> None:
    full, reduced = wires
    regions = regions_of(partition)
    assert regions
    assert reduced.regions(partition) == full.regions(partition) != ([], [])
    for region in regions:
        assert reduced.partition_of(region) == full.partition_of(region)
        for config in VARIANTS:
            assert reduced.outcome(region, config) == full.outcome(region, config)


@pytest.mark.parametrize("region", UNLISTED_REGIONS)
def test_unlisted_region_resolves_as_with_the_full_data(region: str, wires: tuple[Wire, Wire]) -> None:
    full, reduced = wires
    assert reduced.partition_of(region) == full.partition_of(region)
    for config in VARIANTS:
        assert reduced.outcome(region, config) == full.outcome(region, config)


@pytest.mark.parametrize(
    ("region", "config", "host"),
    [
        ("eu-central-1", PLAIN, "sts.eu-central-1.amazonaws.com"),
        ("us-east-1", FIPS, "sts-fips.us-east-1.amazonaws.com"),
        ("us-gov-west-1", FIPS, "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", PLAIN, "sts.cn-north-1.amazonaws.com.cn"),
        ("cn-north-1", DUALSTACK, "sts.cn-north-1.api.amazonwebservices.com.cn"),
    ],
)
def test_known_region_reaches_its_own_host(region: str, config: Config, host: str, wires: tuple[Wire, Wire]) -> None:
    *_, sent = wires[1].outcome(region, config)
    assert sent == ((f"https://{host}/", f"{region}/sts/aws4_request"), (f"https://{host}/", "unsigned"))


def test_reduced_data_has_only_sts_and_the_shared_files(reduced: Path) -> None:
    assert {entry.name for entry in reduced.iterdir()} == {*SHARED_FILES, SERVICE}
    model = list((reduced / SERVICE).glob("*/*"))
    assert {prefix for prefix in MODEL_PREFIXES for entry in model if entry.name.startswith(prefix)} == {
        *MODEL_PREFIXES
    }
    assert all(entry.name.startswith(MODEL_PREFIXES) for entry in model)
    assert sum(entry.stat().st_size for entry in reduced.rglob("*") if entry.is_file()) < 200_000


def test_files_other_than_endpoints_are_unchanged(reduced: Path) -> None:
    for entry in (entry for entry in reduced.rglob("*") if entry.is_file() and entry.name != "endpoints.json"):
        assert entry.read_bytes() == (FULL / entry.relative_to(reduced)).read_bytes()


def test_reducing_twice_changes_nothing(reduced: Path, tmp_path: Path) -> None:
    again = shutil.copytree(reduced, tmp_path / "data")
    reduce_data(again)
    assert (again / "endpoints.json").read_bytes() == (reduced / "endpoints.json").read_bytes()


def test_missing_shared_file_fails_the_build(reduced: Path, tmp_path: Path) -> None:
    data = shutil.copytree(reduced, tmp_path / "data")
    (data / "partitions.json").unlink()
    with pytest.raises(SystemExit, match=r"no longer ships partitions\.json"):
        reduce_data(data)


def test_unknown_layout_of_endpoints_fails_the_build() -> None:
    with pytest.raises(SystemExit, match="has version 4"):
        reduce_endpoints({**ENDPOINTS, "version": 4})


def test_partition_without_sts_fails_the_build() -> None:
    partition = {**ENDPOINTS["partitions"][0], "services": {}}
    with pytest.raises(SystemExit, match="Partition aws has no sts entry"):
        reduce_endpoints({**ENDPOINTS, "partitions": [partition]})
