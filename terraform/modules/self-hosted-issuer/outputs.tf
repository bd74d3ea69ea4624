output "issuer_url" {
  description = "Issuer URL, for the API server (`--service-account-issuer`; on OpenShift `serviceAccountIssuer`) and for the module oidc-provider."
  value       = local.issuer_url

  depends_on = [aws_s3_object.discovery, aws_s3_bucket_policy.issuer]
}

output "keys_url" {
  description = "URL of the keys, for `--service-account-jwks-uri` of the API server."
  value       = "${local.issuer_url}/${local.keys_path}"
}

output "documents" {
  description = "The two documents as JSON texts, by path."
  value = {
    (local.discovery_path) = local.discovery_document
    (local.keys_path)      = local.keys_document
  }
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.issuer.arn
}

output "distribution_id" {
  description = "ID of the CloudFront distribution, for cache invalidations; null without one."
  value       = one(aws_cloudfront_distribution.issuer[*].id)
}
