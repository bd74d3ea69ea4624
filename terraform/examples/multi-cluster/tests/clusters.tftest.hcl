# The real provider plans. It makes no calls, because nothing has to be read.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "each_cluster_has_a_statement" {
  command = plan

  override_resource {
    target          = module.cluster["blue"].aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/blue" }
  }

  override_resource {
    target          = module.cluster["green"].aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example/green" }
  }

  variables {
    issuer_urls = { blue = "https://oidc.example/blue", green = "https://oidc.example/green" }
    queue_arns  = ["arn:aws:sqs:eu-west-1:123456789012:orders"]
    key_arns    = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  }

  assert {
    condition     = [for statement in jsondecode(output.trust_policies["orders-worker"]).Statement : statement.Sid] == ["TrustClusterBlue", "TrustClusterGreen"]
    error_message = "Each cluster must have its own statement."
  }

  assert {
    condition     = jsondecode(output.trust_policies["orders-worker"]).Statement[1].Condition.StringLike["oidc.example/green:aud"] == ["sts.amazonaws.com"]
    error_message = "A cluster's statement must restrict this cluster's audience."
  }
}
