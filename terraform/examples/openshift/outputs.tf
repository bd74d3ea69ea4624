output "issuer_url" {
  description = "Issuer URL, for the cluster's settings."
  value       = module.issuer.issuer_url
}

output "authentication_patch" {
  description = "Patch that makes the cluster use the issuer: `oc patch authentication.config cluster --type=merge -p \"$(terraform output -raw authentication_patch)\"`."
  value       = jsonencode({ spec = { serviceAccountIssuer = module.issuer.issuer_url } })
}

output "broker_environment" {
  description = "Environment variables of the broker's container."
  value       = module.role.broker_environment
}

output "broker_container_env" {
  description = "The same variables as YAML, to paste below `env:` of the broker's container."
  value       = module.role.broker_container_env
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { payments-api = module.role.trust_policy }
}
