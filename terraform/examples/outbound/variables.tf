variable "region" {
  description = "Region of the workload. The broker calls STS in this Region."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_url" {
  description = "The cluster's issuer: `aws eks describe-cluster --name NAME --query cluster.identity.oidc.issuer --output text`."
  type        = string
}

variable "audience" {
  description = "The service that accepts the tokens: the `audience` of the broker's `web_identity_token`."
  type        = string
}
