# The role. trust.tf builds its trust policy.

resource "aws_iam_role" "this" {
  name                 = var.name
  path                 = var.path
  description          = coalesce(var.description, var.chained_from == null ? "Assumed by pods through the STS federation broker" : "Assumed by another role through the STS federation broker")
  assume_role_policy   = local.trust_policy
  max_session_duration = var.max_session_seconds
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "inline" {
  for_each = var.inline_policies

  name   = each.key
  role   = aws_iam_role.this.name
  policy = each.value
}

resource "aws_iam_role_policy" "chain" {
  count = length(var.chain_to) > 0 ? 1 : 0

  name   = "chain"
  role   = aws_iam_role.this.name
  policy = local.chain_policy
}

resource "aws_iam_role_policy_attachment" "managed" {
  for_each = var.attached_policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}

check "trust_policy_fits" {
  assert {
    condition     = length(local.trust_policy) <= 2048
    error_message = "The trust policy has more than 2,048 characters, the default of the account's quota \"Role trust policy length\". Raise the quota first, or create separate roles for some of the clusters."
  }
}
