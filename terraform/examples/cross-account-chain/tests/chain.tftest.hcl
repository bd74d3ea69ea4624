# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "partner"
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "both_sides_of_the_chain_agree" {
  command = plan

  override_resource {
    target          = module.cluster.aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue" }
  }

  override_resource {
    target          = module.app.aws_iam_role.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/workload/payments-api" }
  }

  override_resource {
    target          = module.partner.aws_iam_role.this
    override_during = plan
    values          = { arn = "arn:aws:iam::210987654321:role/workload/payments-partner" }
  }

  variables {
    issuer_url         = "https://oidc.example/blue"
    partner_account_id = "210987654321"
    external_id        = "example-7f3d"
  }

  assert {
    condition     = alltrue([for statement in jsondecode(output.trust_policies["payments-partner"]).Statement : statement.Principal.AWS == [output.role_arns["payments-api"]]])
    error_message = "The partner's role must trust only the first role."
  }

  assert {
    condition     = output.role_arns["payments-partner"] == local.partner_arn
    error_message = "The first role must be allowed to chain to the partner's role."
  }

  assert {
    condition     = [for profile in yamldecode(output.broker_settings).profiles : profile.name] == ["default", "partner"]
    error_message = "The settings must contain both profiles, the source first."
  }
}
