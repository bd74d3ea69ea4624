variable "region" {
  description = "Region of the workload, whose STS the broker calls."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_url" {
  description = "The cluster's issuer: `aws eks describe-cluster --name NAME --query cluster.identity.oidc.issuer --output text`."
  type        = string
}

variable "bucket" {
  description = "Bucket that the workload reads and writes below `payments/`."
  type        = string
  default     = "reports"
}
