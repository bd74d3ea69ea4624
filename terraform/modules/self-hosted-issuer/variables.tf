variable "bucket_name" {
  description = "Name of the bucket. With `access = \"public\"` it is part of the issuer's URL, which can't change later."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "bucket_name must have 3 to 63 lower-case letters, digits and dashes, without dots: S3's certificate does not cover names with dots. Write issuer-blue-123456789012."
  }
}

variable "access" {
  description = "How the documents are served. `public`: everybody can read these two objects. `cloudfront`: the bucket is private and a CloudFront distribution reads it (partition `aws` only)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["public", "cloudfront"], var.access)
    error_message = "access must be public or cloudfront. Write cloudfront where public buckets are forbidden."
  }
}

variable "signing_keys" {
  description = "The cluster's public keys: `jsondecode(file(\"jwks.json\")).keys`, with the file from `kubectl get --raw /openid/v1/jwks`. All listed keys are published. To rotate: add the new key, apply, configure the cluster to sign with it, and remove the old key when its last token has expired."
  type        = list(map(string))
  nullable    = false

  validation {
    condition     = length(var.signing_keys) >= 1 && length(var.signing_keys) <= 100
    error_message = "signing_keys must list 1 to 100 keys. Write jsondecode(file(\"jwks.json\")).keys, with the file from kubectl get --raw /openid/v1/jwks."
  }

  validation {
    condition     = length(setintersection(flatten([for key in var.signing_keys : keys(key)]), ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])) == 0
    error_message = "signing_keys must not contain private keys (members d, p, q, dp, dq, qi, oth, k). Take the output of kubectl get --raw /openid/v1/jwks. Replace the private key: it may be in logs and states."
  }

  validation {
    condition     = alltrue([for key in var.signing_keys : can(regex("^(RS|ES)(256|384|512)$", key.alg)) && length(key.kid) > 0 && lookup(key, "use", "sig") == "sig"])
    error_message = "signing_keys must have a kid, an alg of RS256, RS384, RS512, ES256, ES384 or ES512, and the use sig: AWS accepts no others. Take the output of kubectl get --raw /openid/v1/jwks."
  }

  validation {
    condition = alltrue([for key in var.signing_keys : (
      lookup(key, "kty", "") == "RSA" ? can("${key.n}${key.e}") && can(regex("^RS", key.alg)) :
      lookup(key, "kty", "") == "EC" ? can("${key.x}${key.y}") && try({ "P-256" = "ES256", "P-384" = "ES384", "P-521" = "ES512" }[key.crv] == key.alg, false) : false
    )])
    error_message = "signing_keys must have kty RSA with n, e and an alg of RS256, RS384 or RS512, or kty EC with crv, x, y and the alg of that curve (P-256: ES256, P-384: ES384, P-521: ES512). Take the output of kubectl get --raw /openid/v1/jwks."
  }

  validation {
    condition     = length(distinct([for key in var.signing_keys : lookup(key, "kid", "")])) == length(var.signing_keys)
    error_message = "signing_keys must have different kids. Leave out the duplicate key."
  }
}

variable "domain" {
  description = "With `access = \"cloudfront\"`: your own host name for the distribution, and its ACM certificate in us-east-1. You then own the issuer's URL, and the distribution requires TLS 1.2 or newer. Null: CloudFront's own name."
  type        = object({ name = string, certificate_arn = string })
  default     = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain.name)) && can(regex("^arn:aws:acm:us-east-1:[0-9]{12}:certificate/", var.domain.certificate_arn))
    error_message = "domain must have a host name, and the certificate_arn of an ACM certificate in us-east-1, which CloudFront requires. Write { name = \"oidc.example.com\", certificate_arn = \"arn:aws:acm:us-east-1:123456789012:certificate/…\" }."
  }

  validation {
    condition     = var.domain == null || var.access == "cloudfront"
    error_message = "domain requires access = \"cloudfront\": S3 has no certificate for it. Leave it out."
  }
}

variable "cache_seconds" {
  description = "How long caches can keep the documents, in seconds. Publish a new key for longer than this before the cluster signs with it."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.cache_seconds >= 0 && var.cache_seconds <= 3600 && floor(var.cache_seconds) == var.cache_seconds
    error_message = "cache_seconds must be a whole number from 0 to 3600. Write 300."
  }
}

variable "tags" {
  description = "Tags of the bucket and the distribution."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 50 && alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must be at most 50, and no key can begin with aws:. Write { team = \"blue\" }."
  }
}
