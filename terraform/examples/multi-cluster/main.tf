# One role for a workload that runs in several clusters, such as a blue and a green cluster during a migration.

data "aws_partition" "current" {}

locals {
  policies = "${path.module}/../../../iam-policies"
}

module "cluster" {
  source   = "../../modules/oidc-provider"
  for_each = var.issuer_urls

  issuer_url = each.value
}

module "role" {
  source = "../../modules/workload-role"

  name                  = "orders-worker"
  path                  = "/workload/"
  region                = var.region
  profile_name          = "default"
  clusters              = { for name, cluster in module.cluster : name => cluster.cluster }
  service_accounts      = [{ namespace = "orders", name = "worker" }, { namespace = "orders", name = "retry" }]
  session_name_patterns = ["orders.*"] # the broker names sessions NAMESPACE.POD

  inline_policies = {
    messages = templatefile("${local.policies}/permissions/sqs-consumer.json.tftpl", {
      queue_arns = jsonencode(var.queue_arns)
    })
    keys = templatefile("${local.policies}/permissions/kms-decrypt.json.tftpl", {
      key_arns = jsonencode(var.key_arns)
      services = jsonencode(["sqs.${var.region}.${data.aws_partition.current.dns_suffix}"])
    })
  }
}
