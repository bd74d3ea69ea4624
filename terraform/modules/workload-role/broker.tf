# The broker's settings for this role, with the names in its README.

locals {
  profile = merge(
    {
      name     = coalesce(var.profile_name, var.name)
      role_arn = aws_iam_role.this.arn
      region   = var.region
    },
    var.session_seconds == 3600 ? {} : { duration_seconds = var.session_seconds },
    var.chained_from == null && var.audience != "sts.amazonaws.com" ? { audience = var.audience } : {},
    var.chained_from == null ? {} : { source_profile = var.source_profile },
    try(var.chained_from.external_id, null) == null ? {} : { external_id = var.chained_from.external_id },
    length(try(var.chained_from.required_tags, {})) == 0 ? {} : { tags = var.chained_from.required_tags },
    length(try(var.chained_from.source_identities, [])) == 0 ? {} : { source_identity = var.chained_from.source_identities[0] },
  )

  environment = merge(
    { AWS_ROLE_ARN = aws_iam_role.this.arn, AWS_REGION = var.region },
    var.session_seconds == 3600 ? {} : { BROKER_DURATION_SECONDS = tostring(var.session_seconds) },
    var.audience == "sts.amazonaws.com" ? {} : { BROKER_AUDIENCE = var.audience },
  )

  # By the names that `sts-broker inject` has for them as options. Its annotations begin with "sts-broker/".
  injected = merge(
    { role-arn = aws_iam_role.this.arn, region = var.region },
    var.session_seconds == 3600 ? {} : { duration-seconds = tostring(var.session_seconds) },
    var.audience == "sts.amazonaws.com" ? {} : { audience = var.audience },
  )
}
