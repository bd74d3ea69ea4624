"""The command `sts-broker trust audit`: check options, read an account, print the report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.core.clock import SystemClock
from broker.core.errors import ConfigurationError, PublishError
from broker.core.model import printable, redacted
from broker.core.role_arns import is_aws_role
from broker.core.spelling import suggest
from broker.discovery.issuer_url import examine
from broker.trust.audit import report
from broker.trust.audit.audit import audit
from broker.trust.audit.cluster import Cluster, read_cluster
from broker.trust.audit.rules import ALL_RULES
from broker.trust.audit.saved_account import read_files
from broker.trust.sources import STANDARD_INPUT, name_input, read_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from broker.trust.audit.account import Account
    from broker.trust.audit.audit import Audit

_EXIT_FINDINGS, _EXIT_UNREADABLE, _EXIT_NOT_JUDGED = 1, 2, 3
_FAILING: Final = {"error": ("error",), "warning": ("error", "warning"), "never": ()}
FAIL_ON: Final = tuple(_FAILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """The options of `audit`. Without `files`, the account is read from IAM with the credentials of the shell.

    `profile` and `role_arn` choose the credentials. `manifests` is a file, or -, and `issuer` the URL of its cluster's
    issuer. `form` is the output format: text, json or sarif. `html` is the file for the page, "" for none. `fail_on` is
    the least severe finding that changes the exit code.
    """

    files: Sequence[str] = ()
    profile: str = ""
    role_arn: str = ""
    manifests: str = ""
    issuer: str = ""
    form: str = "text"
    html: str = ""
    fail_on: str = "warning"
    ignored: Collection[str] = ()
    allows_unjudged: bool = False


def run(options: AuditOptions, environ: Mapping[str, str]) -> int:
    """Audit an account and print the report.

    Returns:
        The exit code: 0 without findings of the severity in `fail_on`, 1 with such findings, 2 where an input cannot be
        read, and 3 without such findings where something could not be read in IAM or judged.

    Raises:
        ConfigurationError: The options are invalid, or AWS refuses the credentials.
        PublishError: The HTML page cannot be written.
    """
    if faults := tuple(_find_option_faults(options)):
        raise ConfigurationError(faults)
    cluster, cluster_faults = _read_manifests(options.manifests)
    account = read_files(options.files) if options.files else _read_iam(options, environ)
    account.faults += cluster_faults
    if account.faults and not account.roles:
        for line in account.faults:
            _print_error(line)
        return _EXIT_UNREADABLE
    usable = cluster if cluster is not None and not cluster_faults else None
    result = audit(account, cluster=usable, issuer=options.issuer.removeprefix("https://"), ignored=options.ignored)
    _print_report(result, options.form)
    if options.html:
        _write_page(result, options.html)
    return _choose_exit_code(result, options)


def _read_iam(options: AuditOptions, environ: Mapping[str, str]) -> Account:
    from broker.trust.audit.iam_account import Access, AccountReader, open_iam  # noqa: PLC0415 - loads boto3
    from broker.trust.audit.progress import ReadingProgress  # noqa: PLC0415 - loads rich

    iam = open_iam(Access(profile=options.profile, role_arn=options.role_arn), environ)
    with ReadingProgress() as progress:
        return AccountReader(iam, progress).read()


def _read_manifests(path: str) -> tuple[Cluster | None, list[str]]:
    """Return the cluster in a file, or None without a file, and what cannot be read."""
    if not path:
        return None, []
    try:
        cluster = read_cluster(read_text(path), name_input(path))
    except OSError as error:
        return None, [f"{name_input(path)}: {error.strerror}"]
    except ValueError as error:
        return None, [f"{name_input(path)}: {error}"]
    return cluster, cluster.faults


def _print_report(result: Audit, form: str) -> None:
    if form == "text":
        from broker.trust.audit.tables import print_tables  # noqa: PLC0415 - loads rich

        print_tables(result, sys.stdout)
    else:
        document = report.as_json(result) if form == "json" else report.as_sarif(result)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    account = result.account
    for line in (*account.notes, *(f"not judged: {one}" for one in account.unjudged), *account.faults):
        _print_error(line)


def _write_page(result: Audit, path: str) -> None:
    from broker.trust.audit.html_report import render_page  # noqa: PLC0415 - loads jinja2

    page = render_page(result, now=SystemClock().read().now)
    try:
        Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise PublishError(f"--html {path} cannot be written: {error.strerror}.", sink="html") from None


def _choose_exit_code(result: Audit, options: AuditOptions) -> int:
    if result.account.faults:
        return _EXIT_UNREADABLE
    if any(one.finding.rule.severity.value in _FAILING[options.fail_on] for one in result.findings):
        return _EXIT_FINDINGS
    if not result.account.unjudged or options.allows_unjudged or options.fail_on == "never":
        return 0
    _print_error("not everything could be read and judged; to exit with 0 all the same, pass --allow-unjudged")
    return _EXIT_NOT_JUDGED


def _find_option_faults(options: AuditOptions) -> Iterator[str]:
    for name in sorted(set(options.ignored) - ALL_RULES.keys()):
        yield f"--ignore {name}: unknown rule{suggest(name, ALL_RULES)}. docs/trust.md and docs/audit.md list them."
    if options.files and (options.profile or options.role_arn):
        yield "--profile and --role-arn are for reading IAM. Leave them out where you pass files."
    if options.role_arn and not is_aws_role(options.role_arn):
        yield f"--role-arn is {options.role_arn}; expected arn:aws:iam::ACCOUNT:role/NAME."
    if options.manifests == STANDARD_INPUT and STANDARD_INPUT in options.files:
        yield "--manifests and FILE are both -. Pass a file for one of them."
    if options.issuer and not options.manifests:
        yield "--issuer is the issuer of the manifests' cluster. Pass the manifests (--manifests), too."
    if options.issuer:
        yield from (f"--issuer: {one.found} {one.remedy}" for one in examine(options.issuer))


def _print_error(line: str) -> None:
    sys.stderr.write(f"sts-broker: {redacted(printable(line))}\n")
