output "issuer_url" {
  description = "The issuer, for the cluster."
  value       = module.issuer.issuer_url
}

output "authentication_patch" {
  description = "What makes the cluster use it: `oc patch authentication.config cluster --type=merge -p \"$(terraform output -raw authentication_patch)\"`."
  value       = jsonencode({ spec = { serviceAccountIssuer = module.issuer.issuer_url } })
}

output "broker_environment" {
  description = "Environment of the broker's container."
  value       = module.role.broker_environment
}

output "broker_container_env" {
  description = "The same as YAML, to paste below `env:` of the broker's container."
  value       = module.role.broker_container_env
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { payments-api = module.role.trust_policy }
}
