# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "issuer_alone_is_enough" {
  command = plan

  variables {
    issuer_url = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
  }

  assert {
    condition     = aws_iam_openid_connect_provider.this.client_id_list == toset(["sts.amazonaws.com"])
    error_message = "The default audience must be sts.amazonaws.com."
  }

  assert {
    condition     = output.condition_key_prefix == "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
    error_message = "Condition keys must begin with the issuer without https://."
  }
}

run "audiences_and_thumbprints_are_used" {
  command = plan

  override_resource {
    target          = aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws-cn:iam::123456789012:oidc-provider/issuer.example/blue" }
  }

  variables {
    issuer_url  = "https://issuer.example/blue"
    audiences   = ["openshift", "sts.amazonaws.com"]
    thumbprints = ["990f4193972f2becf12ddeda5237f9c952f20d9e"]
  }

  assert {
    condition     = output.cluster == { issuer_url = "https://issuer.example/blue", provider_arn = "arn:aws-cn:iam::123456789012:oidc-provider/issuer.example/blue" }
    error_message = "The output cluster must fit the variable clusters of the module workload-role."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.this.thumbprint_list == tolist(["990f4193972f2becf12ddeda5237f9c952f20d9e"])
    error_message = "The provider must have the thumbprints."
  }
}

run "values_that_aws_rejects_fail_at_plan" {
  command = plan

  variables {
    issuer_url  = "http://issuer.example:8443/"
    audiences   = ["*"]
    thumbprints = ["99:0f"]
  }

  expect_failures = [var.issuer_url, var.audiences, var.thumbprints]
}
