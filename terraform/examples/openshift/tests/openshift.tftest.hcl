# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "cluster_gets_its_issuer" {
  command = plan

  override_resource {
    target          = module.issuer.aws_cloudfront_distribution.issuer
    override_during = plan
    values          = { arn = "arn:aws:cloudfront::123456789012:distribution/E1", domain_name = "d1.cloudfront.net", id = "E1" }
  }

  override_resource {
    target          = module.cluster.aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/d1.cloudfront.net" }
  }

  variables {
    bucket_name = "issuer-blue"
    jwks_file   = "tests/jwks.json"
  }

  assert {
    condition     = jsondecode(output.authentication_patch) == { spec = { serviceAccountIssuer = "https://d1.cloudfront.net" } }
    error_message = "The cluster's issuer must be the URL of the documents."
  }

  assert {
    condition     = jsondecode(output.trust_policies["payments-api"]).Statement[0].Condition.StringEquals["d1.cloudfront.net:aud"] == ["sts.amazonaws.com"]
    error_message = "The role must not accept the operators' audience."
  }
}
