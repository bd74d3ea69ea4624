output "broker_environment" {
  description = "Environment variables of the broker's container."
  value       = module.role.broker_environment
}

output "broker_container_env" {
  description = "The same variables as YAML, to paste below `env:` of the broker's container."
  value       = module.role.broker_container_env
}

output "inject_options" {
  description = "The same as options of `sts-broker inject`, quoted for a shell."
  value       = module.role.inject_options
}

output "component_env" {
  description = "The same as a file for the kustomize component, from which `configMapGenerator` makes the ConfigMap sts-federation-broker (`envs`)."
  value       = module.role.component_env
}

output "broker_profile" {
  description = "The same settings as a profile of the broker's settings file."
  value       = module.role.broker_profile
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { payments-api = module.role.trust_policy }
}
