"""An example that its README's commands applied to the sandbox's AWS account, and the broker that uses it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.aws.account import act_in
from tests.support.program import Ended, run_to_end
from tests.terraform import on_moto
from tests.terraform.readme_shell import Shell
from tests.terraform.workspace import Result, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox import Sandbox

ACCOUNT = "123456789012"
PARTNER_ACCOUNT = "210987654321"


@dataclass(slots=True, kw_only=True)
class Deployed:
    """The sandbox, and the root module of the applied example."""

    box: Sandbox
    workspace: Workspace
    printed: str = ""
    _pods: int = field(default=0)

    def once(
        self, environment: Mapping[str, str], token: str | None = None, *, service_account: str = "payments:api"
    ) -> Ended:
        """Run `sts-broker once` in a new pod, with this token or a token of this service account."""
        self._pods += 1
        pod = self.workspace.directory / f"pod-{self._pods}"
        namespace, name = service_account.split(":", 1)
        volume = self.box.projected_token(pod / "token", namespace=namespace, service_account=name)
        token_file = volume.path
        if token is not None:
            token_file = pod / "given"
            token_file.write_text(token)
        given = {
            "PATH": os.environ["PATH"],
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file),
            "AWS_ENDPOINT_URL_STS": self.box.sts.url,
            "BROKER_PUBLISH_DIRECTORY": str(pod / "published"),
            **environment,
        }
        return run_to_end("once", "--timeout", "3", environment=given, directory=pod)

    def second_plan(self) -> None:
        """Plan again, and assert that no changes are left."""
        self.workspace.must("plan", "-detailed-exitcode", "-input=false", "-no-color", *self._arguments)

    def apply(self) -> Result:
        """Apply again with the arguments of the first apply."""
        return self.workspace.must("apply", "-auto-approve", "-input=false", "-no-color", *self._arguments)

    def destroy(self) -> None:
        """Destroy everything, and assert that the state is empty."""
        self.workspace.must("destroy", "-auto-approve", "-refresh=false", "-input=false", "-no-color", *self._arguments)
        assert self.workspace.must("state", "list").out == ""

    @property
    def _arguments(self) -> list[str]:
        return (self.workspace.directory / "applied.arguments").read_text().splitlines()

    @property
    def published(self) -> Path:
        """The publish directory of the last broker."""
        return self.workspace.directory / f"pod-{self._pods}" / "published"


def deploy(
    tree: Path, example: str, box: Sandbox, programs: Mapping[str, str] | None = None, *, account: str = ACCOUNT
) -> Deployed:
    """Run the commands of an example's README in an account of the sandbox."""
    workspace = Workspace(directory=tree / "terraform/examples" / example)
    has_partner = "partner" in (workspace.directory / "versions.tf").read_text()
    partner = act_in(PARTNER_ACCOUNT) if has_partner else None
    on_moto.point(workspace, box.moto_url, act_in(account), partner=partner)
    commands = Shell(workspace=workspace)
    commands.files()
    # The sandbox registers its issuer itself; here the example must do that.
    with contextlib.suppress(box.iam.exceptions.NoSuchEntityException):
        box.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=box.provider_arn)
    return Deployed(box=box, workspace=workspace, printed=commands.run(programs))
