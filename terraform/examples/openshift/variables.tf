variable "region" {
  description = "Region of the workload. The broker calls STS in this Region."
  type        = string
  default     = "eu-west-1"
}

variable "bucket_name" {
  description = "Name of the issuer's bucket."
  type        = string
}

variable "jwks_file" {
  description = "File with the cluster's public keys, from `oc get --raw /openid/v1/jwks > jwks.json`."
  type        = string
}

variable "access" {
  description = "How the documents are served: `public`, or `cloudfront` where public buckets are forbidden."
  type        = string
  default     = "cloudfront"
}
