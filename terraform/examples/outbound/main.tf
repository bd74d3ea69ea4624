# One cluster, one service account, and one role that may request web identity tokens for one service outside AWS.

module "cluster" {
  source = "../../modules/oidc-provider"

  issuer_url = var.issuer_url
}

module "role" {
  source = "../../modules/workload-role"

  name             = "payments-api"
  path             = "/workload/"
  region           = var.region
  clusters         = { main = module.cluster.cluster }
  service_accounts = [{ namespace = "payments", name = "api" }]

  inline_policies = {
    tokens = templatefile("${path.module}/../../../iam-policies/permissions/web-identity-token.json.tftpl", {
      token_audiences = jsonencode([var.audience])
      maximum_seconds = jsonencode("300")
    })
  }
}
