# CloudFront in front of a private bucket, with origin access control.

resource "aws_cloudfront_origin_access_control" "issuer" {
  count = local.distributed ? 1 : 0

  name                              = var.bucket_name
  description                       = "Reads the issuer's documents"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_distribution" "issuer" {
  count = local.distributed ? 1 : 0

  enabled         = true
  comment         = "OIDC issuer ${var.bucket_name}"
  is_ipv6_enabled = true
  price_class     = "PriceClass_100" # STS is the only client
  aliases         = var.domain == null ? [] : [var.domain.name]
  tags            = var.tags

  origin {
    origin_id                = "bucket"
    domain_name              = local.bucket_domain
    origin_access_control_id = aws_cloudfront_origin_access_control.issuer[0].id
  }

  default_cache_behavior {
    target_origin_id       = "bucket"
    allowed_methods        = ["GET", "HEAD"]
    cached_methods         = ["GET", "HEAD"]
    viewer_protocol_policy = "https-only"
    min_ttl                = 0
    default_ttl            = var.cache_seconds
    max_ttl                = var.cache_seconds

    forwarded_values {
      query_string = false

      cookies {
        forward = "none"
      }
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = var.domain == null
    acm_certificate_arn            = var.domain == null ? null : var.domain.certificate_arn
    ssl_support_method             = var.domain == null ? null : "sni-only"
    minimum_protocol_version       = var.domain == null ? "TLSv1" : "TLSv1.2_2021" # fixed for CloudFront's own name
  }

  lifecycle {
    precondition {
      condition     = data.aws_partition.current.partition == "aws"
      error_message = "access = \"cloudfront\" works in the partition aws only: GovCloud has no CloudFront, and China has a separate one. Write access = \"public\" there."
    }
  }
}
