# A cluster without a public issuer: its documents in a bucket, an OIDC provider, and a role.

module "issuer" {
  source = "../../modules/self-hosted-issuer"

  bucket_name  = var.bucket_name
  access       = var.access
  signing_keys = jsondecode(file(var.jwks_file)).keys
}

module "cluster" {
  source = "../../modules/oidc-provider"

  issuer_url = module.issuer.issuer_url
  audiences  = ["openshift", "sts.amazonaws.com"] # the cluster's own operators use the first
}

module "role" {
  source = "../../modules/workload-role"

  name             = "payments-api"
  path             = "/workload/"
  region           = var.region
  clusters         = { main = module.cluster.cluster }
  service_accounts = [{ namespace = "payments", name = "api" }]
}
