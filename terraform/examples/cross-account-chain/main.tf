# A pod assumes the role `payments-api` with its token, and with that role `payments-partner` in another account.

data "aws_partition" "current" {}

locals {
  partner_arn = "arn:${data.aws_partition.current.partition}:iam::${var.partner_account_id}:role/workload/payments-partner"
}

module "cluster" {
  source = "../../modules/oidc-provider"

  issuer_url = var.issuer_url
}

module "app" {
  source = "../../modules/workload-role"

  name             = "payments-api"
  path             = "/workload/"
  region           = var.region
  profile_name     = "default"
  clusters         = { main = module.cluster.cluster }
  service_accounts = [{ namespace = "payments", name = "api" }]
  chain_to         = [local.partner_arn]
}

module "partner" {
  source    = "../../modules/workload-role"
  providers = { aws = aws.partner }

  name   = "payments-partner"
  path   = "/workload/"
  region = var.region

  profile_name = "partner"

  chained_from = {
    role_arns         = [module.app.arn]
    external_id       = var.external_id
    required_tags     = { team = "blue" }
    optional_tag_keys = ["stage"]
    source_identities = ["payments-api"]
  }
}
