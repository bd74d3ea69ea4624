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
  alias                       = "china"
  region                      = "cn-north-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

run "pod_gets_trust_boundary_and_settings" {
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

  override_resource {
    target          = aws_iam_policy.boundary
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:policy/workload/broker-role" }
  }

  variables {
    issuer_url = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"
  }

  assert {
    condition = jsondecode(output.trust_policies["payments-api"]).Statement[0].Condition.StringEquals == {
      "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE:aud" = ["sts.amazonaws.com"]
      "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE:sub" = ["system:serviceaccount:payments:api"]
    }
    error_message = "The role must trust exactly one service account of the cluster."
  }

  assert {
    condition     = output.broker_environment == tomap({ AWS_ROLE_ARN = "arn:aws:iam::123456789012:role/workload/payments-api", AWS_REGION = "eu-west-1" })
    error_message = "The environment must contain exactly the broker's settings."
  }
}

run "china_keeps_the_audience" {
  command = plan

  providers = {
    aws = aws.china
  }

  override_resource {
    target          = module.cluster.aws_iam_openid_connect_provider.this
    override_during = plan
    values          = { arn = "arn:aws-cn:iam::123456789012:oidc-provider/oidc.eks.cn-north-1.amazonaws.com.cn/id/EXAMPLE" }
  }

  variables {
    issuer_url = "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/EXAMPLE"
    region     = "cn-north-1"
  }

  assert {
    condition     = local.bucket_arn == "arn:aws-cn:s3:::reports"
    error_message = "ARNs must belong to the partition."
  }

  assert {
    condition     = jsondecode(output.trust_policies["payments-api"]).Statement[0].Condition.StringEquals["oidc.eks.cn-north-1.amazonaws.com.cn/id/EXAMPLE:aud"] == ["sts.amazonaws.com"]
    error_message = "Clusters in China must use the same audience."
  }
}
