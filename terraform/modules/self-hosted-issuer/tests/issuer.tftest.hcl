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

provider "aws" {
  alias                       = "govcloud"
  region                      = "us-gov-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  bucket_name = "issuer-blue"
  signing_keys = [
    { kty = "RSA", kid = "old", alg = "RS256", use = "sig", n = "xjlCRBqkYU", e = "AQAB" },
    { kty = "EC", kid = "new", alg = "ES256", crv = "P-256", x = "f83OJ3D2xF1B", y = "x_FEzRu9m36H" },
  ]
}

run "public_documents" {
  command = plan

  override_resource {
    target          = aws_s3_bucket.issuer
    override_during = plan
    values          = { arn = "arn:aws:s3:::issuer-blue", id = "issuer-blue" }
  }

  variables {
    access = "public"
  }

  assert {
    condition     = output.issuer_url == "https://issuer-blue.s3.eu-west-1.amazonaws.com"
    error_message = "The issuer must be the bucket's own address."
  }

  assert {
    condition     = [for key in jsondecode(aws_s3_object.keys.content).keys : key.kid] == ["old", "new"] && [for key in jsondecode(aws_s3_object.keys.content).keys : key.use] == ["sig", "sig"]
    error_message = "The old and the new key must both be published during a rotation."
  }

  assert {
    condition     = jsondecode(aws_s3_object.discovery.content).jwks_uri == output.keys_url && jsondecode(aws_s3_object.discovery.content).id_token_signing_alg_values_supported == ["ES256", "RS256"]
    error_message = "The discovery document must name the keys and their algorithms."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.issuer.policy).Statement[0].Resource == ["arn:aws:s3:::issuer-blue/.well-known/openid-configuration", "arn:aws:s3:::issuer-blue/keys.json"]
    error_message = "Only the two documents may be public."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.issuer.block_public_acls && aws_s3_bucket_public_access_block.issuer.ignore_public_acls && !aws_s3_bucket_public_access_block.issuer.block_public_policy
    error_message = "Only the policy may make objects public."
  }
}

run "private_bucket_behind_cloudfront" {
  command = plan

  override_resource {
    target          = aws_cloudfront_distribution.issuer
    override_during = plan
    values          = { arn = "arn:aws:cloudfront::123456789012:distribution/E1", domain_name = "d1.cloudfront.net", id = "E1" }
  }

  override_resource {
    target          = aws_s3_bucket.issuer
    override_during = plan
    values          = { arn = "arn:aws:s3:::issuer-blue", id = "issuer-blue" }
  }

  variables {
    access = "cloudfront"
  }

  assert {
    condition     = output.issuer_url == "https://d1.cloudfront.net" && output.distribution_id == "E1"
    error_message = "The issuer must be the distribution's address."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.issuer.block_public_policy && aws_s3_bucket_public_access_block.issuer.restrict_public_buckets
    error_message = "The bucket must be private."
  }

  assert {
    condition = jsondecode(aws_s3_bucket_policy.issuer.policy).Statement[0].Condition == {
      StringEquals = { "aws:SourceArn" = "arn:aws:cloudfront::123456789012:distribution/E1" }
    }
    error_message = "No other distribution may read the bucket."
  }
}

run "own_domain" {
  command = plan

  variables {
    access = "cloudfront"
    domain = { name = "oidc.example.com", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1" }
  }

  assert {
    condition     = output.issuer_url == "https://oidc.example.com"
    error_message = "The issuer must be the configured domain."
  }

  assert {
    condition     = one(aws_cloudfront_distribution.issuer[0].viewer_certificate).minimum_protocol_version == "TLSv1.2_2021"
    error_message = "With a domain, old TLS versions must be refused."
  }
}

run "cloudfront_outside_its_partition" {
  command = plan

  providers = {
    aws = aws.govcloud
  }

  variables {
    access = "cloudfront"
  }

  expect_failures = [aws_cloudfront_distribution.issuer[0]]
}

run "public_documents_in_china" {
  command = plan

  providers = {
    aws = aws.china
  }

  variables {
    access = "public"
  }

  assert {
    condition     = output.issuer_url == "https://issuer-blue.s3.cn-north-1.amazonaws.com.cn"
    error_message = "The issuer must have the domain of the partition."
  }
}

run "public_documents_in_govcloud" {
  command = plan

  providers = {
    aws = aws.govcloud
  }

  variables {
    access = "public"
  }

  assert {
    condition     = output.issuer_url == "https://issuer-blue.s3.us-gov-west-1.amazonaws.com"
    error_message = "The issuer must have the domain of the partition."
  }
}
