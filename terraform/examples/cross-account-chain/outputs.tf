output "broker_settings" {
  description = "The broker's settings file (`BROKER_CONFIG`)."
  value       = "profiles:\n${module.app.broker_profile}${module.partner.broker_profile}"
}

output "role_arns" {
  description = "ARNs by role."
  value       = { payments-api = module.app.arn, payments-partner = module.partner.arn }
}

output "trust_policies" {
  description = "The trust policies by role."
  value       = { payments-api = module.app.trust_policy, payments-partner = module.partner.trust_policy }
}
