"""The help of `sts-broker` and of each command. The help of options is with their definitions."""

from __future__ import annotations

from broker.cli.parser import HelpText

DESCRIPTION = """\
Exchanges a pod's bound service account token at AWS STS for temporary credentials, publishes them for the app in the
same pod, and refreshes them before they expire."""
EPILOG = """\
Settings:
  AWS's own variables (AWS_ROLE_ARN, AWS_REGION, …) and BROKER_… variables.
  BROKER_CONFIG names a YAML file, which can define several profiles.
  docs/settings.md lists all settings.

Exit codes:
   0  success; run: stopped by a signal
   1  a check found something:
        trust lint, trust audit: findings
        trust explain: the token is not allowed
        issuer check: STS would reject the issuer; doctor: a check failed
        inject --check: a workload lacks the sidecar
   2  the configuration or the command line is invalid
   3  there is no token for STS; trust lint or audit could not judge a part
   4  STS issued no credentials
   5  the credentials or standard output could not be written
        credentials: there is nothing valid to print
  70  a bug
  exec: the exit code of the command, 128 + N after signal N, 126 if it is not
      executable, 127 if it is not found; 2 to 5 and 70: it was not run

Examples:
  AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app AWS_REGION=eu-west-1 \\
    sts-broker run
  sts-broker exec -- aws s3 ls       # with credentials that are kept fresh
  sts-broker doctor                  # find out why there are no credentials
  sts-broker trust lint trust.json   # check a policy before you deploy it
  sts-broker demo                    # see it work on a local AWS simulator

Use "sts-broker COMMAND --help" for the options and examples of a command."""
_SIDECAR = {
    "run": HelpText(
        summary="publish credentials and keep them fresh until stopped",
        description=(
            "Reads the token, exchanges it at STS and publishes the credentials. Refreshes them before the token or\n"
            "the credentials expire, and keeps retrying after errors.\n\n"
            "SIGTERM and SIGINT stop the broker within 2 seconds; the published files stay. SIGHUP starts a\n"
            "refresh.\n\n"
            "BROKER_HEALTH_ADDRESS (default: *:9910) serves /livez, /readyz, /metrics and /status.\n"
            "BROKER_ENDPOINT_ADDRESS (default: 127.0.0.1:9911) serves credentials to the SDKs."
        ),
        examples=(
            "  AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app AWS_REGION=eu-west-1 \\\n"
            "    sts-broker run\n"
            "  BROKER_CONFIG=/etc/broker/broker.yaml sts-broker run   # several profiles"
        ),
    ),
    "once": HelpText(
        summary="publish credentials once, then exit",
        description=(
            "For init containers, Jobs and cron. Retries errors that pass without action (network, throttling, late\n"
            "token rotation) until the timeout. Exits at once on errors that need an operator, such as a denied\n"
            "role."
        ),
        examples="  sts-broker once --timeout 30",
    ),
    "exec": HelpText(
        summary="run a command with credentials that are kept fresh",
        description=(
            "For Jobs, and for pods without a sidecar. Waits for the first credentials as `once` does, runs the\n"
            "command, refreshes the credentials while it runs, and exits with its exit code. Signals are forwarded\n"
            "to it.\n\n"
            "The command finds the credentials through a loopback endpoint that all AWS SDKs support. Variables\n"
            "that would make an SDK use other credentials, such as AWS_PROFILE, are removed from the command's\n"
            "environment.\n\n"
            "Programs that read files only find them in $BROKER_PUBLISH_DIRECTORY while the command runs.\n"
            "BROKER_LOG_LEVEL=warning reduces the log on standard error to warnings and errors.\n\n"
            "Some programs read credentials only when they start, or when a signal tells them to. With --on-refresh,\n"
            "the command gets the signal, or is restarted, after each later refresh. See docs/notify.md."
        ),
        examples=(
            "  sts-broker exec -- aws s3 ls\n"
            "  sts-broker exec --on-refresh signal:HUP -- old-server\n"
            "  sts-broker exec --profile audit --timeout 30 -- ./report.sh\n"
            "  sts-broker exec -- \\\n"
            "    sh -c 'AWS_CONFIG_FILE=$BROKER_PUBLISH_DIRECTORY/config exec old-program'"
        ),
    ),
    "credentials": HelpText(
        summary="print published credentials for an SDK's credential_process",
        description=(
            "Reads <profile>.json in the publish directory and prints it if it is complete and has not expired.\n"
            "Otherwise it prints nothing, reports the reason on standard error and exits with 5. It reads no\n"
            "settings except BROKER_PUBLISH_DIRECTORY, and never calls STS."
        ),
        examples=(
            "  sts-broker credentials --profile audit\n\n"
            "  In an AWS config file:\n"
            "  credential_process = sts-broker credentials --profile audit"
        ),
    ),
    "token": HelpText(
        summary="show the claims of the bound token",
        description=(
            "Prints issuer, subject, audience, pod, age, time until rotation and expiry, but never the token or its\n"
            "signature. Nothing is verified: only STS does that. Exits with 3 if the token cannot be sent to STS.\n"
            "With BROKER_TOKEN_SOURCE=token-request and without FILE, it requests a token from the Kubernetes API."
        ),
        examples="  sts-broker token\n  sts-broker token --json token.jwt",
    ),
    "doctor": HelpText(
        summary="find out why there are no credentials, and what to change",
        description=(
            "Checks the settings, the token, the issuer, the network path to STS, the exchange, the publish\n"
            "directory, and whether anything makes SDKs use other credentials. Each check reports ok, warning or\n"
            "failed, what it found, what to change, and where docs/operations.md explains it. Checks that depend on\n"
            "a failed one are reported as not checked. It is safe to run next to a running broker.\n\n"
            "Exits with 0 if nothing failed, with 1 if a check failed, and with 2 if the settings are invalid."
        ),
        examples=(
            "  kubectl exec POD -c sts-broker -- sts-broker doctor\n\n"
            "  Compare the token with the trust policy of the role:\n"
            "  aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument |\n"
            "    kubectl exec -i POD -c sts-broker -- sts-broker doctor --policy -\n\n"
            "  Read the policy with your own credentials:\n"
            "  sts-broker doctor --token token.jwt --policy iam"
        ),
    ),
}
_OPERATOR = {
    "trust": HelpText(
        summary="check, explain and write IAM trust policies, audit an account",
        description=(
            "For infrastructure teams. `trust lint` finds weaknesses, `trust explain` reports whether a policy\n"
            "allows a token and what to change if it does not, `trust render` prints a policy for a token or for\n"
            "workloads of clusters, GitHub Actions, GitLab or SPIFFE. `trust audit` reports who can become what in a\n"
            "whole account. See docs/trust.md and docs/audit.md."
        ),
    ),
    "issuer": HelpText(
        summary="write and check the documents of an OIDC issuer",
        description=(
            "For operators who set up federation. `issuer render` writes the documents that a self-hosted issuer\n"
            "must serve. `issuer check` reports what STS would reject, and what to change. See docs/issuers.md."
        ),
    ),
    "inject": HelpText(
        summary="add the sidecar to Kubernetes manifests",
        description=(
            "Prints the manifests with the sidecar added to every pod and pod template, in\n"
            "objects of any kind. Everything else stays byte for byte the same. A second\n"
            "run changes nothing. Pods can set the same values with annotations\n"
            "(sts-broker/role-arn, …); options take precedence.\n\n"
            "If anything is wrong, it prints no manifests and exits with 2. See deploy/README.md."
        ),
        examples=(
            "  sts-broker inject -f app.yaml --region eu-west-1 \\\n"
            "    --role-arn arn:aws:iam::123456789012:role/app\n"
            "  helm template app | sts-broker inject -f - | kubectl apply -f -\n"
            "  sts-broker inject -f app.yaml --check   # in a pipeline, for annotated pods"
        ),
    ),
}
_TRY_IT = {
    "demo": HelpText(
        summary="see the broker work against a local AWS simulator",
        description=(
            "Starts simulators of the issuer, the kubelet and STS, and the real broker with short-lived tokens and\n"
            "sessions. An unmodified boto3 session calls GetCallerIdentity with the published credentials.\n"
            "Exits with 0 only if every call succeeded and the credentials were refreshed at least once.\n"
            "It needs a checkout of the repository."
        ),
        examples="  make demo\n  sts-broker demo --seconds 60",
    ),
}
GROUPS = {"Sidecar commands": _SIDECAR, "Operator commands": _OPERATOR, "Try it": _TRY_IT}
"""The commands in the groups, and in the order, in which the help lists them."""
VERBS = {name: text for group in GROUPS.values() for name, text in group.items()}
"""The help of each command, by its name."""
