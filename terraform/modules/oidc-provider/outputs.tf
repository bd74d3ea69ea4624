output "arn" {
  description = "ARN of the provider."
  value       = aws_iam_openid_connect_provider.this.arn
}

output "issuer_url" {
  description = "The issuer, as it was given."
  value       = var.issuer_url
}

output "condition_key_prefix" {
  description = "What stands before `:aud` and `:sub` in trust policies: the issuer without https://."
  value       = trimprefix(var.issuer_url, "https://")
}

output "audiences" {
  description = "The audiences that are registered."
  value       = var.audiences
}

output "cluster" {
  description = "The cluster as the module workload-role takes it, one value of its `clusters`."
  value = {
    issuer_url   = var.issuer_url
    provider_arn = aws_iam_openid_connect_provider.this.arn
  }
}
