# The real provider plans; it calls nobody, as there is nothing to read.

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
    error_message = "The audience must be sts.amazonaws.com where none is given."
  }

  assert {
    condition     = output.condition_key_prefix == "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
    error_message = "Condition keys begin with the issuer without https://."
  }
}

run "audiences_and_thumbprints_are_passed_on" {
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
    error_message = "The output cluster must be what the module workload-role takes."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.this.thumbprint_list == tolist(["990f4193972f2becf12ddeda5237f9c952f20d9e"])
    error_message = "Thumbprints must be passed on."
  }
}

run "what_aws_would_refuse_is_refused_at_plan" {
  command = plan

  variables {
    issuer_url  = "http://issuer.example:8443/"
    audiences   = ["*"]
    thumbprints = ["99:0f"]
  }

  expect_failures = [var.issuer_url, var.audiences, var.thumbprints]
}
