output "broker_environment" {
  description = "Environment variables of the broker's container."
  value       = merge(module.role.broker_environment, { BROKER_WEB_IDENTITY_TOKEN_AUDIENCE = var.audience })
}

output "subject" {
  description = "The `sub` claim of the tokens, which the service must require."
  value       = module.role.broker_environment.AWS_ROLE_ARN
}
