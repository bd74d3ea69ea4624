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

output "inject_options" {
  description = "The same as options of `sts-broker inject`, quoted for a shell; empty for a chained role."
  value       = var.chained_from == null ? join(" ", [for name, value in local.injected : "--${name} '${replace(value, "'", "'\\''")}'"]) : ""
}

output "pod_annotations" {
  description = "The same as annotations of the pod template, for `sts-broker inject` and the admission policies; empty for a chained role."
  value       = var.chained_from == null ? { for name, value in local.injected : "sts-broker/${name}" => value } : {}
}

output "component_env" {
  description = "The same as a file for the kustomize component, from which `configMapGenerator` makes the ConfigMap sts-federation-broker (`envs`); empty for a chained role."
  value       = var.chained_from == null ? join("", [for name, value in local.environment : "${name}=${value}\n"]) : ""
}
