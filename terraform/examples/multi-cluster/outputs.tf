output "broker_environment" {
  description = "Environment variables of the broker's container, the same in every cluster."
  value       = module.role.broker_environment
}

output "broker_container_env" {
  description = "The same variables as YAML, to paste below `env:` of the broker's container."
  value       = module.role.broker_container_env
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { orders-worker = module.role.trust_policy }
}
