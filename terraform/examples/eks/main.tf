# One EKS cluster, one service account, and one role with a permissions boundary and access to one prefix of a bucket.

data "aws_partition" "current" {}

locals {
  policies   = "${path.module}/../../../iam-policies"
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"
}

module "cluster" {
  source = "../../modules/oidc-provider"

  issuer_url = var.issuer_url
}

resource "aws_iam_policy" "boundary" {
  name = "broker-role"
  path = "/workload/"
  policy = templatefile("${local.policies}/boundaries/broker-role.json.tftpl", {
    allowed_actions     = jsonencode(["kms:Decrypt", "s3:*", "sqs:*"])
    chainable_role_arns = jsonencode(["arn:${data.aws_partition.current.partition}:iam::000000000000:role/none"])
  })
}

module "role" {
  source = "../../modules/workload-role"

  name                     = "payments-api"
  path                     = "/workload/"
  region                   = var.region
  clusters                 = { main = module.cluster.cluster }
  service_accounts         = [{ namespace = "payments", name = "api" }]
  permissions_boundary_arn = aws_iam_policy.boundary.arn

  inline_policies = {
    objects = templatefile("${local.policies}/permissions/s3-prefix.json.tftpl", {
      bucket_arn      = jsonencode(local.bucket_arn)
      object_arns     = jsonencode(["${local.bucket_arn}/payments/*"])
      listed_prefixes = jsonencode(["payments/*"])
    })
  }
}
