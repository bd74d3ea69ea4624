output "broker_environment" {
  description = "Environment of the broker's container, the same in every cluster."
  value       = module.role.broker_environment
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { orders-worker = module.role.trust_policy }
}
