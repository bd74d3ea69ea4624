output "arn" {
  description = "ARN of the provider."
  value       = aws_iam_openid_connect_provider.this.arn
}

output "issuer_url" {
  description = "Issuer URL, unchanged."
  value       = var.issuer_url
}

output "condition_key_prefix" {
  description = "Start of the condition keys `:aud` and `:sub` in trust policies: the issuer without https://."
  value       = trimprefix(var.issuer_url, "https://")
}

output "audiences" {
  description = "Registered audiences."
  value       = var.audiences
}

output "cluster" {
  description = "The cluster as one value of the variable `clusters` of the module workload-role."
  value = {
    issuer_url   = var.issuer_url
    provider_arn = aws_iam_openid_connect_provider.this.arn
  }
}
