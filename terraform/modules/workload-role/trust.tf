# The trust policy, built from the variables only: nothing here needs AWS.

locals {
  policies = "${path.module}/../../../iam-policies"

  subjects = {
    for name, cluster in var.clusters : name => distinct(concat(
      [for account in coalesce(cluster.service_accounts, var.service_accounts) : "system:serviceaccount:${account.namespace}:${account.name}"],
      [for namespace in var.namespaces_whose_every_service_account_is_trusted : "system:serviceaccount:${namespace}:*"],
    ))
  }

  # StringLike only where a value has a wildcard: audiences and full names contain neither * nor ?.
  session_operator = anytrue([for pattern in var.session_name_patterns : can(regex("[*?]", pattern))]) ? "StringLike" : "StringEquals"
  session_names    = { for key in ["sts:RoleSessionName"] : key => var.session_name_patterns if length(var.session_name_patterns) > 0 }
  operator         = length(var.namespaces_whose_every_service_account_is_trusted) > 0 ? "StringLike" : local.session_operator

  cluster_template = length(var.session_name_patterns) > 0 ? "statement-session-name" : "statement"
  cluster_statements = [
    for name, cluster in var.clusters : templatefile("${local.policies}/trust/${local.cluster_template}.json.tftpl", {
      sid           = jsonencode("TrustCluster${title(name)}")
      provider_arn  = jsonencode(cluster.provider_arn)
      audience_key  = jsonencode("${trimprefix(cluster.issuer_url, "https://")}:aud")
      audiences     = jsonencode([var.audience])
      operator      = jsonencode(local.operator)
      subject_key   = jsonencode("${trimprefix(cluster.issuer_url, "https://")}:sub")
      subjects      = jsonencode(local.subjects[name])
      session_names = jsonencode(var.session_name_patterns)
    })
  ]

  chain = var.chained_from == null ? [] : [var.chained_from]
  chain_conditions = [
    for chain in local.chain : merge(
      chain.external_id == null ? {} : { "sts:ExternalId" = chain.external_id },
      { for key, value in chain.required_tags : "aws:RequestTag/${key}" => value },
    )
  ]
  chain_statements = flatten([
    for place, chain in local.chain : [
      [templatefile("${local.policies}/trust/chained-assume.json.tftpl", {
        principals = jsonencode(chain.role_arns)
        conditions = jsonencode({ for operator, keys in {
          StringEquals = merge(local.chain_conditions[place], local.session_operator == "StringEquals" ? local.session_names : {})
          StringLike   = local.session_operator == "StringLike" ? local.session_names : {}
        } : operator => keys if length(keys) > 0 })
      })],
      length(local.chain_tag_keys) == 0 ? [] : [templatefile("${local.policies}/trust/chained-tag.json.tftpl", {
        principals = jsonencode(chain.role_arns)
        tag_keys   = jsonencode(local.chain_tag_keys)
      })],
      length(chain.source_identities) == 0 ? [] : [templatefile("${local.policies}/trust/chained-source-identity.json.tftpl", {
        principals        = jsonencode(chain.role_arns)
        source_identities = jsonencode(chain.source_identities)
      })],
    ]
  ])
  chain_tag_keys = flatten([for chain in local.chain : distinct(concat(keys(chain.required_tags), chain.optional_tag_keys))])

  trust_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for statement in concat(local.cluster_statements, local.chain_statements) : jsondecode(statement)]
  })

  chain_policy = templatefile("${local.policies}/permissions/cross-account-assume.json.tftpl", { role_arns = jsonencode(var.chain_to) })
}
