# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "role_may_request_tokens_of_one_audience" {
  command = plan

  override_resource {
    target          = module.cluster.aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE" }
  }

  override_resource {
    target          = module.role.aws_iam_role.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/workload/payments-api" }
  }

  variables {
    issuer_url = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"
    audience   = "https://vault.example"
  }

  assert {
    condition = output.broker_environment == {
      AWS_ROLE_ARN                       = "arn:aws:iam::123456789012:role/workload/payments-api"
      AWS_REGION                         = "eu-west-1"
      BROKER_WEB_IDENTITY_TOKEN_AUDIENCE = "https://vault.example"
    }
    error_message = "The environment must contain exactly the broker's settings."
  }

  assert {
    condition     = output.subject == "arn:aws:iam::123456789012:role/workload/payments-api"
    error_message = "The subject of the tokens is the role."
  }
}
