output "arn" {
  description = "ARN of the role."
  value       = aws_iam_role.this.arn
}

output "name" {
  description = "Name of the role."
  value       = aws_iam_role.this.name
}

output "trust_policy" {
  description = "The trust policy, as JSON text."
  value       = local.trust_policy
}

output "broker_environment" {
  description = "Environment variables of the broker for this role only; empty for a chained role, which needs a profile."
  value       = var.chained_from == null ? local.environment : {}
}

output "broker_container_env" {
  description = "The same variables as YAML, to paste below `env:` of the broker's container; empty for a chained role."
  value       = var.chained_from == null ? yamlencode([for name, value in local.environment : { name = name, value = value }]) : ""
}

output "broker_profile" {
  description = "The broker's profile for this role: YAML to paste below `profiles:` of its settings file."
  value       = yamlencode([local.profile])
}
