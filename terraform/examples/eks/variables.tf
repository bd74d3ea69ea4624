variable "region" {
  description = "Region of the workload. The broker calls STS in this Region."
  type        = string
  default     = "eu-west-1"
}

variable "issuer_url" {
  description = "The cluster's issuer: `aws eks describe-cluster --name NAME --query cluster.identity.oidc.issuer --output text`."
  type        = string
}

variable "bucket" {
  description = "Bucket in which the workload reads and writes objects below `payments/`."
  type        = string
  default     = "reports"
}
