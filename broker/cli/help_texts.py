"""What `sts-broker --help` and each verb's own help say. Nothing else: what verbs take and do is in `cli`."""

from __future__ import annotations

DESCRIPTION = """\
Exchanges a pod's bound service account token at AWS STS, publishes the temporary credentials
for the app beside it, and keeps them fresh."""
EPILOG = """\
settings:
  The standard AWS variables (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_REGION, …) and BROKER_…;
  several profiles come from the YAML file that BROKER_CONFIG names. The README lists them all.

exit codes:
  0 done; run: ended by a signal    2 configuration    3 token    4 exchange    70 a bug
  5 publish: files or output could not be written; credentials: nothing usable is published
  issuer check: 1 STS would refuse    trust lint: 1 findings    trust explain: 1 not let in
  doctor: 1 something failed
  inject --check: 1 a workload lacks the sidecar
  exec: the command's own, 128 + N for signal N, 126 not executable, 127 not found; those above: it was not run

examples:
  AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app AWS_REGION=eu-west-1 sts-broker run
  sts-broker once --timeout 30        # one generation, for an init container or a Job
  sts-broker exec -- aws s3 ls        # a command with credentials that are kept fresh while it runs
  sts-broker credentials              # what is published, for credential_process
  sts-broker token --json             # what the token in the file says
  sts-broker doctor                   # why there are no credentials, and what to change
  sts-broker issuer check https://oidc.example.com   # what STS would refuse of an issuer
  sts-broker trust lint trust.json    # what is weak in a trust policy
  sts-broker inject -f app.yaml       # manifests with the sidecar, for pods annotated with sts-broker/role-arn
  sts-broker demo --seconds 60        # the whole job on an AWS account in a box"""
VERBS = {
    "run": (
        "keep credentials fresh until told to stop",
        (
            "Reads the token, exchanges it, publishes the credentials, and again before they or the token expire.\n"
            "SIGTERM or SIGINT: end within 2 s, leaving the files in place. SIGHUP: refresh now.\n"
            "Health listener (default *:9910): /livez /readyz /metrics /status"
        ),
    ),
    "once": (
        "publish one generation, then exit",
        (
            "For init containers, Jobs and cron. What passes by itself (network, throttling, a late token) is tried\n"
            "again until the timeout; what somebody must mend ends it at once."
        ),
    ),
    "exec": (
        "run a command with credentials that are kept fresh",
        (
            "For Jobs, and where there is no sidecar. Waits for the first credentials as `once` does, then runs the\n"
            "command with an endpoint from which every SDK fetches them anew, and ends with the command's exit code.\n"
            "Takes away what would hide the endpoint: keys, AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE, … Signals are\n"
            "passed on. BROKER_LOG_LEVEL=warning keeps standard error to what matters.\n"
            "Files, for what knows no endpoint, are in $BROKER_PUBLISH_DIRECTORY while it runs:\n"
            "  sts-broker exec -- sh -c 'AWS_CONFIG_FILE=$BROKER_PUBLISH_DIRECTORY/config old-program'"
        ),
    ),
    "credentials": (
        "print what is published, for an SDK's credential_process",
        (
            "Reads <profile>.json in the publish directory, and nothing else: no STS, no settings. Prints it if it is\n"
            "whole and unexpired. Otherwise: nothing, the reason on standard error, exit code 5.\n"
            "In an AWS config file: credential_process = sts-broker credentials --profile NAME"
        ),
    ),
    "token": (
        "show what the bound token says",
        (
            "Issuer, subject, audience, pod, age, time to rotation and expiry; never the signature, and nothing is\n"
            "verified: only STS does that. Exit code 3 where the token is not fit to be sent. With\n"
            "BROKER_TOKEN_SOURCE=token-request and without FILE, the Kubernetes API is asked for one."
        ),
    ),
    "doctor": (
        "find out why there are no credentials",
        (
            "Looks at settings, token, issuer, the way to STS, the exchange, the publish directory and what hides the\n"
            "credentials from SDKs, in this order. Says for each: ok, warning or failed, what was found, what to do,\n"
            "and where docs/operations.md tells more. What a fault keeps from being checked is told so: what failed\n"
            "is what to mend. Safe beside a running broker.\n"
            "Exit code 0 nothing failed, 1 something did, 2 settings.\n"
            "  kubectl exec POD -c sts-broker -- sts-broker doctor\n"
            "  aws iam get-role --role-name NAME --query Role.AssumeRolePolicyDocument |\n"
            "    kubectl exec -i POD -c sts-broker -- sts-broker doctor --policy -\n"
            "  sts-broker doctor --token token.jwt --policy iam    # reads it there, by this shell's credentials"
        ),
    ),
    "issuer": (
        "write and check an issuer's documents",
        (
            "For the one who sets up federation: `issuer render` writes what a self-hosted issuer has to serve,\n"
            "`issuer check` says what STS would refuse of an issuer, and what to change.\n"
            "docs/issuers.md has the procedures."
        ),
    ),
    "trust": (
        "judge trust policies before they are deployed",
        (
            "For infra teams: `trust lint` finds weaknesses, `trust explain` says what a policy says to a token and\n"
            "what would let it in, `trust render` prints a policy for a token. docs/trust.md has it all."
        ),
    ),
    "inject": (
        "add the sidecar to Kubernetes manifests",
        (
            "Prints the manifests with the sidecar in their pods (Pod, Deployment, StatefulSet, DaemonSet,\n"
            "ReplicaSet, Job, CronJob, and a List of them). All else stays byte for byte; done twice, it changes\n"
            "nothing. A pod may say the same by its annotations: sts-broker/role-arn, … An option wins.\n"
            "On any fault nothing is printed, and the exit code is 2. deploy/README.md has more.\n\n"
            "  sts-broker inject -f app.yaml --role-arn arn:aws:iam::123456789012:role/app --region eu-west-1\n"
            "  helm template app | sts-broker inject -f - | kubectl apply -f -\n"
            "  sts-broker inject -f app.yaml --check     # in a pipeline, for pods that are annotated"
        ),
    ),
    "demo": (
        "the whole job on an AWS account in a box",
        (
            "Starts the sandbox (issuer, kubelet, STS), runs the real broker against it with short-lived tokens and\n"
            "sessions, and an unmodified boto3 session that calls GetCallerIdentity through the published config.\n"
            "Exit code 0 only if every call succeeded and at least two generations were seen."
        ),
    ),
}
"""Each verb's summary, and what more its help says, in the order in which help lists them."""
