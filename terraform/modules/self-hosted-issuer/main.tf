# The bucket and, where it is private, the distribution in front of it. The policies are in iam-policies/issuer.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  policies    = "${path.module}/../../../iam-policies/issuer"
  distributed = var.access == "cloudfront"

  # Not the bucket's own attribute, whose spelling of us-east-1 has changed before. The issuer's URL must not change.
  bucket_domain = "${var.bucket_name}.s3.${data.aws_region.current.id}.${data.aws_partition.current.dns_suffix}"
  cloudfront    = one(aws_cloudfront_distribution.issuer[*].domain_name)
  host          = local.distributed ? (var.domain == null ? local.cloudfront : var.domain.name) : local.bucket_domain
  issuer_url    = "https://${local.host}"

  discovery_document = jsonencode({
    issuer                                = local.issuer_url
    jwks_uri                              = "${local.issuer_url}/${local.keys_path}"
    authorization_endpoint                = "urn:kubernetes:programmatic_authorization"
    response_types_supported              = ["id_token"]
    subject_types_supported               = ["public"]
    id_token_signing_alg_values_supported = local.algorithms
    claims_supported                      = ["aud", "exp", "iat", "iss", "sub"]
  })
}

resource "aws_s3_bucket" "issuer" {
  bucket = var.bucket_name
  tags   = var.tags
}

resource "aws_s3_bucket_ownership_controls" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  rule {
    object_ownership = "BucketOwnerEnforced" # no ACLs: only the policy grants access
  }
}

resource "aws_s3_bucket_versioning" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "issuer" {
  bucket = aws_s3_bucket.issuer.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256" # with a KMS key, readers would need AWS credentials
    }
  }
}

resource "aws_s3_bucket_public_access_block" "issuer" {
  bucket                  = aws_s3_bucket.issuer.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = local.distributed
  restrict_public_buckets = local.distributed
}

resource "aws_s3_bucket_policy" "issuer" {
  bucket = aws_s3_bucket.issuer.id
  policy = templatefile("${local.policies}/bucket-${var.access}.json.tftpl", {
    document_arns    = jsonencode([for path in [local.discovery_path, local.keys_path] : "${aws_s3_bucket.issuer.arn}/${path}"])
    all_arns         = jsonencode([aws_s3_bucket.issuer.arn, "${aws_s3_bucket.issuer.arn}/*"])
    distribution_arn = jsonencode(one(aws_cloudfront_distribution.issuer[*].arn))
  })

  depends_on = [aws_s3_bucket_public_access_block.issuer] # S3 rejects a public policy while public access is blocked
}

resource "aws_s3_object" "keys" {
  bucket        = aws_s3_bucket.issuer.id
  key           = local.keys_path
  content       = local.keys_document
  content_type  = "application/json"
  cache_control = "public, max-age=${var.cache_seconds}"

  depends_on = [aws_s3_bucket_versioning.issuer, aws_s3_bucket_server_side_encryption_configuration.issuer]
}

resource "aws_s3_object" "discovery" {
  bucket        = aws_s3_bucket.issuer.id
  key           = local.discovery_path
  content       = local.discovery_document
  content_type  = "application/json"
  cache_control = "public, max-age=${var.cache_seconds}"

  depends_on = [aws_s3_object.keys] # publish the keys before the document that refers to them
}
